// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire
import Testing

@Suite struct BatchTests {
    private func line(_ text: String) throws(HTTPProblem) -> (Command, key: String?, message: String?) {
        let bytes = Array(text.utf8)
        let line = try BatchLine(bytes.span)
        return (line.command, line.key, line.message.map { String(decoding: bytes[$0], as: UTF8.self) })
    }

    @Test(arguments: [
        ("{\"user\":\"u\",\"message\":{\"a\": 1}}", Command.sendToUser("u"), "{\"a\": 1}"),
        ("{\"message\":[1],\"thread\":\"t\"}", .sendToRoom(.thread("t")), "[1]"),
        ("{\"job\":\"j\",\"message\":\"x\"}", .sendToRoom(.job("j")), "\"x\""),
        ("{\"connection\":\"c\",\"message\":null}", .sendToConnection(ConnectionID("c")), "null"),
        (" {\"all\":true,\"message\":0}", .broadcast(excluding: []), "0"),
    ])
    func `a line names an address and a message`(text: String, command: Command, message: String) throws {
        let read = try line(text)
        #expect(read.0 == command && read.message == message && read.key == nil)
    }

    @Test func `a line may have an event, and a key`() throws {
        let bytes = Array("{\"user\":\"u\",\"event\":\"e\",\"data\":{\"x\":1},\"key\":\"k\"}".utf8)
        let line = try BatchLine(bytes.span)
        let event = try #require(line.event)
        #expect(String(decoding: bytes[event.type], as: UTF8.self) == "\"e\"")
        #expect(event.data.map { String(decoding: bytes[$0], as: UTF8.self) } == "{\"x\":1}")
        #expect(line.key == "k" && line.message == nil)
    }

    @Test(arguments: [
        ("", "invalid_json"), ("{", "invalid_json"), ("[]", "invalid_line"), ("{}", "invalid_line"),
        ("{\"user\":\"u\"}", "invalid_line"), ("{\"message\":1}", "invalid_line"),
        ("{\"user\":\"u\",\"thread\":\"t\",\"message\":1}", "invalid_line"),
        ("{\"user\":\"u\",\"mesage\":1}", "invalid_line"), ("{\"user\":5,\"message\":1}", "invalid_line"),
        ("{\"user\":\"\",\"message\":1}", "invalid_user"), ("{\"thread\":\"\",\"message\":1}", "invalid_room"),
        ("{\"all\":false,\"message\":1}", "invalid_line"),
        ("{\"user\":\"u\",\"message\":1,\"event\":\"e\"}", "invalid_line"),
        ("{\"user\":\"u\",\"message\":1,\"data\":2}", "invalid_line"),
        ("{\"user\":\"u\",\"event\":\"\"}", "invalid_line"),
        ("{\"user\":\"u\",\"message\":1,\"key\":\"\"}", "invalid_key"),
    ])
    func `a malformed line is refused with a code`(text: String, code: String) {
        #expect { try line(text) } throws: { ($0 as? HTTPProblem)?.code == code }
    }

    @Test func `publishes for one shard travel together and are read back in order`() throws {
        let requests = [
            Request(.sendToUser("用户")),
            Request(.sendToConnection(ConnectionID("c")), key: RequestKey("k", fingerprint: 1)),
        ]
        var bytes: [UInt8] = [9]
        for request in requests { BatchCoding.append(request, text: Array("text".utf8).span, to: &bytes) }
        var read: [Request] = []
        try BatchCoding.forEach(in: bytes, 1..<bytes.count) { request, text in
            #expect(Array(bytes[text]) == Array("text".utf8))
            read.append(request)
        }
        #expect(read == requests)
        for cut in 2..<bytes.count - 1 {
            var whole = 0
            _ = try? BatchCoding.forEach(in: bytes, 1..<cut) { _, _ in whole += 1 }
            #expect(whole < 2)
        }
    }
}

@Suite struct StreamedBodyTests {
    /// Feeds text in pieces, and returns the events, with lines as text.
    private func feed(_ exchange: inout HTTPExchange, _ text: String, pieces: Int) -> [String] {
        var events: [String] = []
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            exchange.input += bytes[start..<min(start + pieces, bytes.count)]
            drain(&exchange, &events)
        }
        return events
    }

    private func drain(_ exchange: inout HTTPExchange, _ events: inout [String]) {
        while true {
            switch exchange.next() {
            case .needsMore: return
            case .bodyAnnounced: events.append("announced")
            case .request(let request, let number, _):
                events.append("request \(request.path)")
                exchange.respond(to: number, .text("ok"))
            case .streamBegan:
                events.append("began")
                exchange.beginStream(HTTPResponse(200))
            case .line(let range):
                let line = String(decoding: exchange.input[range], as: UTF8.self)
                events.append(line)
                exchange.stream(Array("<\(line)>".utf8))
            case .lineTooLong: events.append("too long")
            case .streamEnded:
                events.append("ended")
                exchange.endStream()
            }
        }
    }

    private func request(_ body: String, version: String = "1.1") -> String {
        "POST /v1/batch HTTP/\(version)\r\nHost: h\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    @Test(arguments: [1, 3, 7, 1000])
    func `lines are passed on as they arrive, and another request may follow`(pieces: Int) {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100, takesStreams: true))
        let text = request("one\ntwo\r\n\nlast") + "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
        #expect(feed(&exchange, text, pieces: pieces) == ["began", "one", "two", "", "last", "ended", "request /x"])
        let output = String(decoding: exchange.takeOutput(), as: UTF8.self)
        #expect(output.contains("Transfer-Encoding: chunked\r\n") && output.contains("0\r\n\r\nHTTP/1.1 200 OK"))
    }

    @Test func `the answer is in chunks that say their length`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100, takesStreams: true))
        _ = feed(&exchange, request("a\nb\n"), pieces: 1000)
        let output = String(decoding: exchange.takeOutput(), as: UTF8.self)
        #expect(output.hasSuffix("\r\n\r\n6\r\n<a><b>\r\n0\r\n\r\n"))
        expect(!exchange.isOver && !exchange.isWaiting)
    }

    @Test func `an HTTP 1.0 peer gets the answer without chunks, and then the end of the connection`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100, takesStreams: true))
        _ = feed(&exchange, request("a", version: "1.0"), pieces: 1000)
        let output = String(decoding: exchange.takeOutput(), as: UTF8.self)
        #expect(output.contains("Connection: close") && output.hasSuffix("\r\n\r\n<a>"))
        expect(exchange.isOver)
    }

    @Test(arguments: [1, 10, 1000])
    func `a line that is too long fails alone, however it comes`(pieces: Int) {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 10, takesStreams: true))
        let long = String(repeating: "x", count: 50)
        let events = feed(&exchange, request("a\n\(long)\nb\n\(long)"), pieces: pieces)
        #expect(events == ["began", "a", "too long", "b", "too long", "ended"])
    }

    @Test func `a paused stream passes nothing on until it continues`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100, takesStreams: true))
        var events = feed(&exchange, "POST /v1/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n", pieces: 1000)
        exchange.isPaused = true
        events += feed(&exchange, "a\nb\n", pieces: 1)
        #expect(events == ["began"])
        expect(!exchange.wantsInput)
        exchange.isPaused = false
        drain(&exchange, &events)
        #expect(events == ["began", "a", "b", "ended"])
    }

    @Test func `memory stays small however long the body is`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 1000, takesStreams: true))
        exchange.input += Array("POST /v1/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n".utf8)
        var events: [String] = []
        drain(&exchange, &events)
        let piece = Array(String(repeating: String(repeating: "y", count: 99) + "\n", count: 100).utf8)
        var largest = 0
        for _ in 0..<1000 {
            exchange.input += piece
            drain(&exchange, &events)
            events.removeAll()
            _ = exchange.takeOutput()
            largest = max(largest, exchange.input.capacity)
        }
        #expect(largest < 1_000_000)
        expect(!exchange.isStreaming)
    }

    @Test func `a stream that is refused is answered, and the connection ends`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100, takesStreams: true))
        exchange.input += Array(request("a\nb\n").utf8)
        guard case .streamBegan(_, let number) = exchange.next() else {
            Issue.record("no stream")
            return
        }
        exchange.respond(to: number, HTTPProblem(401, "key_missing", "").response)
        if case .needsMore = exchange.next() {} else { Issue.record("it goes on") }
        let output = String(decoding: exchange.takeOutput(), as: UTF8.self)
        #expect(output.hasPrefix("HTTP/1.1 401 ") && output.contains("Connection: close"))
        expect(exchange.isOver)
    }

    @Test func `what is streamed after the answer was cut short is not sent`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100, takesStreams: true))
        _ = feed(&exchange, "POST /v1/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\na\n", pieces: 1000)
        exchange.fail(HTTPProblem(408, "request_timeout", ""))
        _ = exchange.takeOutput()
        exchange.stream(Array("late".utf8))
        expect(!exchange.hasOutput && exchange.isOver)
    }

    @Test func `an answer that is cut is sent without its last chunk`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100, takesStreams: true))
        let events = feed(
            &exchange,
            "POST /v1/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\na\nb",
            pieces: 1000
        )
        #expect(events == ["began", "a"])
        exchange.stopStream()
        expect(exchange.isWaiting && !exchange.isStreaming)
        exchange.cutStream()
        #expect(String(decoding: exchange.takeOutput(), as: UTF8.self).hasSuffix("3\r\n<a>\r\n"))
        expect(exchange.isOver)
    }
}
