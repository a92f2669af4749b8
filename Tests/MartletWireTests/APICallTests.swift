// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire
import Testing

@Suite struct APICallTests {
    private func call(_ method: String, _ target: String, _ fields: String = "") throws -> APICall {
        let length = method == "POST" ? "Content-Length: 2\r\n" : ""
        let text = "\(method) \(target) HTTP/1.1\r\nHost: h\r\n\(length)\(fields)\r\n"
        return try APICall.parse(try #require(try HTTPRequest(in: Array(text.utf8))))
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
        ("POST", "/v1/threads/t/messages?exclude_user=u", 400), ("POST", "/v1/broadcast?exclude=u", 400),
        ("POST", "/v1/broadcast/events?exclude_users=u", 400), ("POST", "/v1/users/u/messages?x", 400),
        ("GET", "/v1/stats?by_user=1", 400), ("GET", "/v1/stats?by_user=true&by_user=false", 400),
        ("GET", "/v1/stats/shards?by_user=true", 400), ("PUT", "/v1/threads/t/users/u?for=1h", 400),
        ("DELETE", "/v1/connections/c?code=4001&code=4002", 400), ("POST", "/v1/batch?key=x", 400),
        ("DELETE", "/v1/users/u/connections?code=1005", 400), ("DELETE", "/v1/users/u/connections?code=x", 400),
    ])
    func `any other path or method is refused`(method: String, target: String, status: Int) {
        #expect { try call(method, target) } throws: { ($0 as? HTTPProblem)?.status == status }
    }

    @Test func `405 names what is allowed, and 415 what is not accepted`() {
        #expect { try call("PUT", "/v1/users/u/connections") } throws: {
            ($0 as? HTTPProblem)?.fields == [.init(name: "Allow", value: "GET, HEAD, DELETE")]
        }
        #expect { try call("POST", "/v1/broadcast", "Content-Type: application/xml\r\n") } throws: {
            ($0 as? HTTPProblem)?.status == 415
        }
        for coding in ["gzip", "br, gzip", "x"] {
            #expect { try call("POST", "/v1/broadcast", "Content-Encoding: \(coding)\r\n") } throws: {
                let problem = $0 as? HTTPProblem
                return problem?.code == "unsupported_content_coding" && problem?.detail.contains(coding) == true
                    && problem?.fields == [.init(name: "Accept-Encoding", value: "identity")]
            }
        }
        #expect(throws: Never.self) { try call("POST", "/v1/broadcast", "Content-Encoding: identity\r\n") }
        #expect(throws: Never.self) { try call("GET", "/healthz?cachebuster=1") }
        #expect(throws: Never.self) {
            try call("POST", "/v1/broadcast", "Content-Type: application/json; charset=utf-8\r\n")
        }
    }
}
