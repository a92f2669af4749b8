// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire
import Testing

/// Bodies in chunks (RFC 9112, 7.1).
@Suite struct ChunkTests {
    private static func head(_ path: String = "/a", _ more: String = "") -> String {
        "POST \(path) HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\(more)\r\n"
    }

    /// Feeds text in pieces, and returns what came out of it.
    private func feed(_ exchange: inout HTTPExchange, _ text: String, pieces: Int = .max) -> [String] {
        var events: [String] = []
        let bytes = Array(text.utf8)
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + min(pieces, bytes.count))
            exchange.input += bytes[start..<end]
            start = end
            drain(&exchange, &events)
        }
        return events
    }

    private func drain(_ exchange: inout HTTPExchange, _ events: inout [String]) {
        while true {
            switch exchange.next() {
            case .needsMore: return
            case .bodyAnnounced(_, _, let byteCount): events.append("announced \(byteCount.map { "\($0)" } ?? "")")
            case .request(let request, let number, let body):
                let text = String(decoding: exchange.input[body], as: UTF8.self)
                events.append("\(request.path) \(text)")
                exchange.respond(to: number, .text("ok"))
            case .streamBegan: exchange.beginStream(HTTPResponse(200))
            case .line(let range): events.append(String(decoding: exchange.input[range], as: UTF8.self))
            case .lineTooLong: events.append("too long")
            case .streamEnded:
                events.append("ended")
                exchange.endStream()
            }
        }
    }

    private static let bodies = [
        "3\r\nabc\r\n0\r\n\r\n", "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", "003;x=y\r\nabc\r\n00;z\r\n\r\n",
        "2 ;q=\"a b\"\r\nab\r\n1\r\nc\r\n0\r\nTrailer: x\r\nOther:\ty\r\n\r\n",
    ]

    @Test(arguments: bodies)
    func `a body is taken out of its chunks wherever it is cut, and another request may follow`(body: String) {
        let text = Self.head() + body + "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
        for pieces in 1...text.utf8.count {
            var exchange = HTTPExchange(limits: .init(bodyBytes: 3))
            let events = feed(&exchange, text, pieces: pieces).filter { $0 != "announced " }
            #expect(events == ["/a abc", "/b "], "in pieces of \(pieces)")
            #expect(!exchange.isOver && !exchange.isMidRequest)
        }
    }

    @Test func `what is binary or has line ends is taken as it is`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        #expect(feed(&exchange, Self.head() + "a\r\n0\r\n\r\n3\r\nab\r\n0\r\n\r\n") == ["/a 0\r\n\r\n3\r\nab"])
    }

    @Test(arguments: [
        "x\r\n", "\r\n", "3\nabc", "3\r\nabcd", "3\r\nabc\n", "-1\r\n", "+3\r\n", "0x3\r\n", " 3\r\n", "3\r\rabc",
        "1;a\u{1}\r\n",
        "1\r\na\r\n\r\n", "0\r\nA: \u{7F}\r\n", "0\r\n\n", "0000000000000000\r\n", "FFFFFFFFFFFFFFFF\r\n", "3 junk\r\n",
        "3 \r\n", "0\r\nGET /x HTTP/1.1\r\n", "0\r\n: x\r\n", "0\r\nA\r\n",
        "1;" + String(repeating: "x", count: 300), "0\r\nA: " + String(repeating: "x", count: 17000),
    ])
    func `chunks that another server might read differently are refused`(body: String) {
        for pieces in [1, 5, Int.max] {
            var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
            let events = feed(&exchange, Self.head() + body, pieces: pieces)
            #expect(events.allSatisfy { $0 == "announced " }, "\(events)")
            #expect(String(decoding: exchange.takeOutput(), as: UTF8.self).hasPrefix("HTTP/1.1 400 "))
            #expect(exchange.isOver && !exchange.wantsInput)
        }
    }

    @Test(arguments: ["4\r\n", "2\r\nab\r\n2\r\n", "fffffffffffffff\r\n"])
    func `a body that will be too large is refused before it comes`(body: String) {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 3))
        _ = feed(&exchange, Self.head() + body)
        #expect(String(decoding: exchange.takeOutput(), as: UTF8.self).hasPrefix("HTTP/1.1 413 "))
        expect(exchange.isOver)
    }

    @Test func `a client that waits for it is told to continue, and a body that is refused is not read`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 10))
        let expecting = Self.head("/a", "Expect: 100-continue\r\n")
        #expect(feed(&exchange, expecting) == ["announced "])
        #expect(String(decoding: exchange.takeOutput(), as: UTF8.self) == "HTTP/1.1 100 Continue\r\n\r\n")
        #expect(exchange.isReceivingBody && exchange.isOpenEnded)
        #expect(feed(&exchange, "1\r\na\r\n0\r\n\r\n") == ["/a a"])
        var other = HTTPExchange(limits: .init(bodyBytes: 10))
        other.input = Array(expecting.utf8)
        guard case .bodyAnnounced(_, let number, nil) = other.next() else {
            Issue.record("nothing was announced")
            return
        }
        other.respond(to: number, HTTPResponse(401))
        #expect(other.isOver && String(decoding: other.takeOutput(), as: UTF8.self).contains("Connection: close\r\n"))
    }

    @Test(arguments: [1, 2, 7, 1000])
    func `lines are passed on as their chunks come, wherever these are cut`(pieces: Int) {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 10, takesStreams: true))
        let body = "2\r\non\r\n6\r\ne\ntwo\n\r\n12\r\n0123456789abcdef\nx\r\n1\r\ny\r\n0\r\nT: x\r\n\r\n"
        let text = Self.head("/v1/batch") + body + "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
        #expect(feed(&exchange, text, pieces: pieces) == ["one", "two", "too long", "xy", "ended", "/b "])
        #expect(!exchange.isOver && !exchange.isWaiting)
    }

    @Test(arguments: [1, 7, Int.max])
    func `lines before chunks that are malformed are answered however they come, and the answer is cut short`(
        pieces: Int
    ) {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 10, takesStreams: true))
        #expect(feed(&exchange, Self.head("/v1/batch") + "7\r\none\ntwo\r\nzz\r\nthree\n", pieces: pieces) == ["one"])
        expect(exchange.isOver && !exchange.wantsInput)
        #expect(!String(decoding: exchange.takeOutput(), as: UTF8.self).hasSuffix("0\r\n\r\n"))
    }

    @Test func `a trailer has as many fields as a head may have`() {
        for (count, isRead) in [(100, true), (101, false)] {
            var exchange = HTTPExchange(limits: .init(bodyBytes: 10))
            let trailer = String(repeating: "A: b\r\n", count: count)
            #expect(feed(&exchange, Self.head() + "0\r\n\(trailer)\r\n").contains("/a ") == isRead)
            expect(exchange.isOver == !isRead)
        }
    }

    @Test(arguments: [1, 100])
    func `where no body is allowed, chunks are refused, whether or not their end comes with the head`(pieces: Int) {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 0))
        #expect(feed(&exchange, Self.head() + "0\r\n\r\n", pieces: pieces) == [])
        #expect(String(decoding: exchange.takeOutput(), as: UTF8.self).hasPrefix("HTTP/1.1 413 "))
    }

    @Test func `the largest body comes through beside the largest head`() {
        let start = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nA: "
        let head = start + String(repeating: "x", count: 16384 - start.utf8.count - 4) + "\r\n\r\n"
        var exchange = HTTPExchange(limits: .init(bodyBytes: 5000))
        var events = feed(&exchange, head + "1388\r\n" + String(repeating: "y", count: 5000))
        expect(exchange.wantsInput)
        events += feed(&exchange, "\r\n0\r\n\r\n")
        #expect(events.last == "/a " + String(repeating: "y", count: 5000))
    }
}
