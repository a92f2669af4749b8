import MartletCore
import MartletWire
import Testing

@Suite struct HTTPHeadParserTests {
    private func parse(_ text: String) throws(HTTPProblem) -> HTTPRequest {
        try HTTPHeadParser.request(Array(text.utf8)[...])
    }

    @Test func `a head is read`() throws {
        let request = try parse(
            "POST /v1/users/a%20b%2Fc%3Fd/messages?x=1&y=%C3%A9+z HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX:  a \r\nx: b\r\n\r\n"
        )
        #expect(request.method == "POST")
        #expect(request.segments == ["v1", "users", "a b/c?d", "messages"])
        #expect(request.parameter("y") == "é z")
        #expect(request.contentLength == 5)
        #expect(request["x"] == "a, b")
        #expect(request.keepsAlive)
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505), ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://x/ HTTP/1.1\r\nHost: a\r\n\r\n", 400), ("G\u{7F}T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\nA: \u{1}\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999\r\n\r\n", 400),
        ("GET /用户 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ])
    func `what another server might read differently is refused`(text: String, status: Int) {
        #expect { try parse(text) } throws: { ($0 as? HTTPProblem)?.status == status }
    }

    @Test func `the end of a head is found wherever it is cut`() {
        let text = Array("GET / HTTP/1.1\r\nHost: a\r\nA: \r\r\n\r\nrest".utf8)
        for searched in 0...text.count - 8 {
            #expect(HTTPHeadParser.endOfHead(text, from: 0, searchedTo: searched) == text.count - 4)
        }
        #expect(HTTPHeadParser.endOfHead(Array(text.dropLast(5)), from: 0, searchedTo: 0) == nil)
    }
}

@Suite struct HTTPExchangeTests {
    private static let post = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"

    /// Feeds text and answers every request with its own body.
    private func echo(_ exchange: inout HTTPExchange, _ text: String) -> Int {
        exchange.input += Array(text.utf8)
        var count = 0
        while case .request(_, let number, let body) = exchange.next() {
            count += 1
            exchange.respond(to: number, HTTPResponse(200, body: Array(exchange.input[body])))
        }
        return count
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
            #expect(!exchange.isOver)
        }
    }

    @Test(arguments: [
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n", "413"),
        ("nonsense\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nA: \(String(repeating: "x", count: 17000))\r\n\r\n", "431"),
        (String(repeating: "x", count: 17000), "431"),
    ])
    func `a request that cannot be read is answered, and ends the connection`(text: String, status: String) {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        expect(echo(&exchange, text) == 0)
        #expect(String(decoding: exchange.takeOutput(), as: UTF8.self).hasPrefix("HTTP/1.1 \(status) "))
        #expect(exchange.isOver)
        #expect(!exchange.wantsInput)
    }

    @Test func `a request that fails within its body is over, and fails once`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        expect(echo(&exchange, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\nabc") == 0)
        #expect(exchange.isMidRequest)
        exchange.fail(HTTPProblem(408, "request_timeout", "late"))
        #expect(!exchange.isMidRequest && exchange.isOver)
    }

    @Test func `what is pipelined is bounded`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        for _ in 0..<100 { exchange.input += Array(Self.post.utf8) }
        var numbers: [Int] = []
        while case .request(_, let number, _) = exchange.next() { numbers.append(number) }
        #expect(numbers.count == 64)
        #expect(!exchange.wantsInput)
        exchange.respond(to: numbers[0], .text("x"))
        guard case .request = exchange.next() else {
            Issue.record("an answer makes room for the next request")
            return
        }
    }

    @Test func `connection close is kept to, and a HEAD has no body`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        expect(
            echo(&exchange, "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
                == 1
        )
        let output = String(decoding: exchange.takeOutput(), as: UTF8.self)
        #expect(output.contains("Connection: close\r\n") && output.hasSuffix("\r\n\r\n"))
        #expect(exchange.isOver)
    }

    @Test func `a client that expects it is told to continue`() {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 100))
        expect(echo(&exchange, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n") == 0)
        #expect(String(decoding: exchange.takeOutput(), as: UTF8.self) == "HTTP/1.1 100 Continue\r\n\r\n")
        expect(echo(&exchange, "abc") == 1)
    }
}

@Suite struct APICallTests {
    private func call(_ method: String, _ target: String, _ fields: String = "") throws(HTTPProblem) -> APICall {
        let length = method == "POST" ? "Content-Length: 2\r\n" : ""
        let text = "\(method) \(target) HTTP/1.1\r\nHost: h\r\n\(length)\(fields)\r\n"
        return try APICall.parse(try HTTPHeadParser.request(Array(text.utf8)[...]))
    }

    @Test(arguments: [
        ("POST", "/v1/users/%E7%94%A8%E6%88%B71/messages", APICall.publish(.sendToUser("用户1"), isEvent: false)),
        ("POST", "/v1/connections/abc/messages", .publish(.sendToConnection(ConnectionID("abc")), isEvent: false)),
        (
            "POST", "/v1/broadcast?exclude_user=a&exclude_user=b",
            .publish(.broadcast(excluding: ["a", "b"]), isEvent: false)
        ),
        ("GET", "/v1/users/u/connections", .command(.listConnections(user: "u"))),
        (
            "DELETE", "/v1/users/u/connections?code=4001&reason=x",
            .command(.disconnectUser("u", code: 4001, reason: "x"))
        ),
        ("GET", "/v1/connections/abc", .command(.describe(ConnectionID("abc")))),
        ("GET", "/v1/stats?by_user=true", .node(byUser: true)), ("HEAD", "/v1/stats", .node(byUser: false)),
        ("GET", "/v1/stats/shards", .shards), ("GET", "/v1/stats/shards/1", .shard(1)),
        ("GET", "/healthz", .health), ("GET", "/readyz", .readiness), ("GET", "/metrics", .metrics),
        ("POST", "/v1/threads/a%2Fb/messages", .publish(.sendToRoom(.thread("a/b")), isEvent: false)),
        ("POST", "/v1/jobs/j/messages", .publish(.sendToRoom(.job("j")), isEvent: false)),
        ("POST", "/v1/users/u/events", .publish(.sendToUser("u"), isEvent: true)),
        ("POST", "/v1/threads/t/events", .publish(.sendToRoom(.thread("t")), isEvent: true)),
        ("POST", "/v1/jobs/j/events", .publish(.sendToRoom(.job("j")), isEvent: true)),
        ("POST", "/v1/connections/c/events", .publish(.sendToConnection(ConnectionID("c")), isEvent: true)),
        ("POST", "/v1/broadcast/events", .publish(.broadcast(excluding: []), isEvent: true)),
        ("PUT", "/v1/threads/t/users/u", .command(.bind(user: "u", thread: "t"))),
        ("DELETE", "/v1/threads/t/users/u", .command(.unbind(user: "u", thread: "t"))),
        ("POST", "/v1/batch", .batch),
    ])
    func `every path of the API is understood`(method: String, target: String, expected: APICall) throws {
        #expect(try call(method, target) == expected)
    }

    @Test(arguments: [
        ("GET", "/v1/users/u/messages", 405), ("PUT", "/v1/users/u/connections", 405), ("GET", "/v2", 404),
        ("POST", "/v1/users//messages", 400), ("POST", "/v1/users/%FF/messages", 400),
        ("GET", "/v1/stats/shards/x", 404),
        ("POST", "/v1/users/\(String(repeating: "x", count: 257))/messages", 400), ("DELETE", "/v1/stats", 405),
        ("DELETE", "/v1/users/u/connections?code=1005", 400), ("DELETE", "/v1/users/u/connections?code=x", 400),
    ])
    func `what is none of them is refused`(method: String, target: String, status: Int) {
        #expect { try call(method, target) } throws: { ($0 as? HTTPProblem)?.status == status }
    }

    @Test func `405 names what is allowed, and 415 what is not taken`() {
        #expect { try call("PUT", "/v1/users/u/connections") } throws: {
            ($0 as? HTTPProblem)?.fields == [.init(name: "Allow", value: "GET, HEAD, DELETE")]
        }
        #expect { try call("POST", "/v1/broadcast", "Content-Type: application/xml\r\n") } throws: {
            ($0 as? HTTPProblem)?.status == 415
        }
        #expect(throws: Never.self) {
            try call("POST", "/v1/broadcast", "Content-Type: application/json; charset=utf-8\r\n")
        }
    }
}
