// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import MartletWire
import Testing

@Suite struct HTTPRequestTests {
    private func parse(_ text: String) throws -> HTTPRequest {
        try #require(try HTTPRequest(in: Array(text.utf8)), "the head is not complete")
    }

    @Test func `a head is read`() throws {
        let request = try parse(
            "POST /v1/users/a%20b%2Fc%3Fd/messages?x=1&y=%C3%A9+z HTTP/1.1\r\n"
                + "Host: h\r\nContent-Length: 5\r\nOrigin:  a \r\norigin: b\r\nX: c\r\n\r\n"
        )
        #expect(request.method == .post)
        #expect(request.path == "/v1/users/a%20b%2Fc%3Fd/messages")
        #expect(
            try APICall.parse(parse("GET /v1/users/a%20b%2Fc%3Fd/connections HTTP/1.1\r\nHost: h\r\n\r\n"))
                == .command(.listConnections(user: "a b/c?d"))
        )
        #expect(request.parameters?.value(of: "y") == "é z")
        #expect(request.contentLength == 5)
        #expect(request[.origin] == "a, b")
        #expect(request.keepsAlive)
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505), ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET ftp://x/ HTTP/1.1\r\nHost: a\r\n\r\n", 400), ("GET http:/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://u@x/ HTTP/1.1\r\nHost: a\r\n\r\n", 400), ("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://x/ HTTP/1.1\r\n\r\n", 400), ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400), ("GET /?a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400), ("GET / HTTP/1.0\r\nHost: a?\r\n\r\n", 400),
        ("G\u{7F}T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\nA: \u{1}\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999\r\n\r\n", 400),
        ("GET /用户 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ])
    func `a head that another server might read differently is refused`(text: String, status: Int) {
        #expect { try parse(text) } throws: { ($0 as? HTTPProblem)?.status == status }
    }

    @Test(
        arguments: [
            ("http://other:81/a%20b?x=1", "other:81", "/a%20b", "x=1"), ("HTTPS://Other", "Other", "/", nil),
            ("ws://other?x", "other", "/", "x"), ("wss://[::1]:9/ws", "[::1]:9", "/ws", nil), ("/a", "h", "/a", nil),
            ("//a/b", "h", "//a/b", nil),
        ] as [(String, String, String, String?)]
    )
    func `a target may be a whole URL, and then its host is the one that counts`(
        target: String,
        host: String,
        path: String,
        query: String?
    ) throws {
        let request = try parse("GET \(target) HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(request[.host] == host && request.path == path && request.query == query)
    }

    @Test(arguments: ["", "a", "a.b:80", "a:", "127.0.0.1:1", "[::1]", "[fe80::1]:8000", "xn--a_b~c", "a%20b"])
    func `a Host is a name or an address, with or without a port`(host: String) throws {
        #expect(try parse("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n")[.host] == host)
    }

    @Test func `too many fields are refused, even if they have few bytes`() throws {
        let fields = (0..<100).map { "A\($0): b\r\n" }.joined()
        #expect {
            try parse("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
        } throws: {
            ($0 as? HTTPProblem)?.code == "too_many_fields" && ($0 as? HTTPProblem)?.status == 431
        }
    }

    @Test func `an upgrade names one protocol`() throws {
        func isUpgrade(_ fields: String) throws -> Bool {
            try parse("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n").hasOnly("websocket", in: .upgrade)
        }
        #expect(try isUpgrade("Upgrade: WebSocket\r\n"))
        #expect(try isUpgrade("Upgrade: websocket\r\nUpgrade: websocket\r\n"))
        #expect(try !isUpgrade("Upgrade: websocket\r\nUpgrade: h2c\r\n"))
        #expect(try !isUpgrade("Upgrade: h2c, websocket\r\n"))
        #expect(try !isUpgrade(""))
    }

    @Test func `every field that is read is found in upper and lower case, and no other name is taken for it`() throws {
        for field in HTTPField.allCases where ![.host, .contentLength, .transferEncoding].contains(field) {
            let name = "\(field.name)"
            for spelled in [name, name.uppercased(), name.capitalized] {
                #expect(try parse("GET / HTTP/1.1\r\nHost: a\r\n\(spelled): x\r\n\r\n")[field] == "x", "\(spelled)")
            }
            for other in ["_" + name.dropFirst(), name.dropLast() + "_", name + "s", name.dropLast()] {
                let request = try parse("GET / HTTP/1.1\r\nHost: a\r\n\(other): x\r\n\r\n")
                #expect(HTTPField.allCases.allSatisfy { $0 == .host || !request.has($0) }, "\(other)")
            }
        }
    }

    @Test func `a head is read the same wherever it is cut`() throws {
        let text = Array("GET /a HTTP/1.1\r\nHost: a\r\nOrigin: b\r\n\r\n".utf8)
        for cut in 0..<text.count { #expect(try HTTPRequest(in: Array(text[..<cut])) == nil, "\(cut) bytes") }
        #expect(try HTTPRequest(in: text)?[.origin] == "b")
    }

    @Test func `a member of a list is found, whatever is around it`() throws {
        let request = try parse(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x ,, Keep-Alive\t,y\r\nconnection: Upgrade\r\n\r\n"
        )
        #expect(request.has("keep-alive", in: .connection) && request.has("upgrade", in: .connection))
        #expect(!request.has("keep", in: .connection) && !request.has("close", in: .connection))
        #expect(request.tokens(of: .connection) == ["x", "Keep-Alive", "y", "Upgrade"])
    }
}

@Suite struct HTTPExchangeTests {
    private static let post = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"

    /// Feeds text, and answers every request with its own body.
    private func echo(_ exchange: inout HTTPExchange, _ text: String) -> Int {
        exchange.input += Array(text.utf8)
        var count = 0
        while true {
            switch exchange.next() {
            case .request(_, let number, let body):
                count += 1
                exchange.respond(to: number, HTTPResponse(200, body: Array(exchange.input[body])))
            case .bodyAnnounced: continue
            default: return count
            }
        }
    }

    @Test func `requests that come together are answered in order`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        exchange.input = Array((Self.post + Self.post.replacing("abc", with: "def") + Self.post).utf8)
        var numbers: [Int] = []
        while case .request(_, let number, _) = exchange.next() { numbers.append(number) }
        #expect(numbers.count == 3)
        for number in numbers.reversed() { exchange.respond(to: number, .text("\(number)")) }
        let output = String(decoding: exchange.takeOutput(), as: UTF8.self)
        let bodies = output.split(separator: "\r\n\r\n").dropFirst().map { $0.prefix(1) }
        #expect(bodies == numbers.map { "\($0)".prefix(1) })
    }

    @Test func `a request is read the same however it is cut`() {
        let text = Array(Self.post.utf8)
        for cut in 0...text.count {
            var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
            let first = echo(&exchange, String(decoding: text[..<cut], as: UTF8.self))
            let second = echo(&exchange, String(decoding: text[cut...], as: UTF8.self))
            #expect(first + second == 1)
            #expect(String(decoding: exchange.takeOutput(), as: UTF8.self).hasSuffix("\r\n\r\nabc"))
            expect(!exchange.isOver)
        }
    }

    @Test(arguments: [
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n", "413"),
        ("nonsense\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nA: \(String(repeating: "x", count: 17000))\r\n\r\n", "431"),
        (String(repeating: "x", count: 17000), "431"), (String(repeating: "x", count: 16384), "431"),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: " + String(repeating: "x", count: 16384 - 28), "431"),
        (String(repeating: "\r\n", count: 5), "400"), (String(repeating: "\r\n", count: 100) + post, "400"),
    ])
    func `a request that cannot be read is answered, and ends the connection`(text: String, status: String) {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        expect(echo(&exchange, text) == 0)
        #expect(String(decoding: exchange.takeOutput(), as: UTF8.self).hasPrefix("HTTP/1.1 \(status) "))
        expect(exchange.isOver)
        expect(!exchange.wantsInput)
    }

    @Test func `a request that fails within its body is over, and fails once`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        expect(echo(&exchange, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\nabc") == 0)
        expect(exchange.isMidRequest)
        exchange.fail(HTTPProblem(408, "request_timeout", "late"))
        #expect(!exchange.isMidRequest && exchange.isOver)
    }

    @Test func `what is pipelined is bounded`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        for _ in 0..<100 { exchange.input += Array(Self.post.utf8) }
        var numbers: [Int] = []
        while case .request(_, let number, _) = exchange.next() { numbers.append(number) }
        #expect(numbers.count == 64)
        expect(!exchange.wantsInput)
        exchange.respond(to: numbers[0], .text("x"))
        guard case .request = exchange.next() else {
            Issue.record("an answer makes room for the next request")
            return
        }
    }

    @Test func `connection close is respected, and the answer to HEAD has no body`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        expect(
            echo(&exchange, "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
                == 1
        )
        let output = String(decoding: exchange.takeOutput(), as: UTF8.self)
        #expect(output.contains("Connection: close\r\n") && output.hasSuffix("\r\n\r\n"))
        expect(exchange.isOver)
    }

    @Test func `a client that waits for it is told to continue`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        expect(echo(&exchange, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n") == 0)
        #expect(String(decoding: exchange.takeOutput(), as: UTF8.self) == "HTTP/1.1 100 Continue\r\n\r\n")
        expect(echo(&exchange, "abc") == 1)
    }

    private static let expecting = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"

    @Test func `a client is told to continue when its earlier requests are answered`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        exchange.input = Array((Self.post + Self.expecting).utf8)
        guard case .request(_, let first, _) = exchange.next(),
            case .bodyAnnounced(_, let second, 3) = exchange.next(), case .needsMore = exchange.next()
        else {
            Issue.record("a request, and the head of another")
            return
        }
        #expect(!exchange.hasOutput && second == first + 1 && exchange.isWaiting)
        exchange.respond(to: first, .text("x"))
        let output = String(decoding: exchange.takeOutput(), as: UTF8.self)
        #expect(output.hasSuffix("\r\n\r\nxHTTP/1.1 100 Continue\r\n\r\n"))
        #expect(!exchange.isWaiting && exchange.isMidRequest && exchange.isReceivingBody)
        expect(echo(&exchange, "abc") == 1)
        #expect(String(decoding: exchange.takeOutput(), as: UTF8.self).hasSuffix("abc") && !exchange.isOver)
    }

    @Test func `an HTTP 1.0 client, and one that has sent its body, are not told to continue`() {
        for text in [Self.expecting.replacing("1.1", with: "1.0"), Self.expecting + "abc"] {
            var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
            _ = echo(&exchange, text)
            #expect(!String(decoding: exchange.takeOutput(), as: UTF8.self).contains("100 Continue"))
        }
    }

    @Test func `an announced body can be refused before any of it is read`() {
        for before in ["", Self.post] {
            var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
            exchange.input = Array((before + Self.expecting).utf8)
            var numbers: [Int] = []
            if case .request(_, let number, _) = exchange.next() { numbers.append(number) }
            if before.isEmpty {
                #expect(numbers.isEmpty && exchange.isReceivingBody)
                exchange.respond(to: 0, HTTPResponse(401))
            } else {
                guard case .bodyAnnounced(_, let number, _) = exchange.next() else {
                    Issue.record("no body was announced")
                    return
                }
                exchange.respond(to: number, HTTPResponse(401))
                expect(!exchange.hasOutput, "answers come in order")
                exchange.respond(to: numbers[0], .text("x"))
            }
            let output = String(decoding: exchange.takeOutput(), as: UTF8.self)
            #expect(output.contains("HTTP/1.1 401 Unauthorized\r\n") && output.contains("Connection: close\r\n"))
            #expect(!output.contains("100 Continue") && exchange.isOver && !exchange.isReceivingBody)
        }
    }

    @Test func `a body that never comes leaves no answer outstanding`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        expect(echo(&exchange, Self.expecting) == 0)
        #expect(exchange.isMidRequest && !exchange.isWaiting)
        exchange.stopReading()
        expect(exchange.isOver)
        var late = HTTPExchange(limits: .init(bodyBytes: 100))
        expect(echo(&late, Self.expecting) == 0)
        late.fail(HTTPProblem(408, "request_timeout", "late"))
        #expect(late.isOver && String(decoding: late.takeOutput(), as: UTF8.self).contains(" 408 "))
    }

    @Test func `while a request is received, as many others may wait as usual`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        for _ in 0..<63 { exchange.input += Array(Self.post.utf8) }
        exchange.input += Array(Self.expecting.utf8)
        var requests = 0
        while case .request = exchange.next() { requests += 1 }
        #expect(requests == 63)
        exchange.input += Array("abc".utf8)
        guard case .request = exchange.next() else {
            Issue.record("the 64th request is read")
            return
        }
    }

    @Test func `a few blank lines before a request are skipped, however they are cut`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        var count = 0
        for piece in ["\r\n\r", "\n", "\r\n", Self.post, "\r\n\r\n\r\n\r\n", Self.post] {
            count += echo(&exchange, piece)
        }
        #expect(count == 2 && !exchange.isOver)
    }

    @Test func `an HTTP 1.0 client that wants to stay is told that it may`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        expect(echo(&exchange, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n") == 1)
        #expect(String(decoding: exchange.takeOutput(), as: UTF8.self).contains("Connection: keep-alive\r\n"))
        expect(echo(&exchange, "GET / HTTP/1.1\r\nHost: h\r\n\r\n") == 1)
        #expect(!String(decoding: exchange.takeOutput(), as: UTF8.self).contains("Connection"))
        expect(echo(&exchange, "GET / HTTP/1.0\r\n\r\n") == 1)
        #expect(String(decoding: exchange.takeOutput(), as: UTF8.self).contains("Connection: close\r\n"))
        expect(exchange.isOver)
    }

    @Test(
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
        ] as [(Int64, String)]
    )
    func `answers say what time it is`(seconds: Int64, text: String) {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        exchange.date = HTTPDate(unixSeconds: seconds)
        expect(echo(&exchange, Self.post + "nonsense\r\n\r\n") == 1)
        let output = String(decoding: exchange.takeOutput(), as: UTF8.self)
        #expect(output.components(separatedBy: "\r\nDate: \(text)\r\n").count == 3, "refusals, too")
        #expect(HTTPDate(unixSeconds: 0).at(unixSeconds: seconds) == HTTPDate(unixSeconds: seconds))
    }
}
