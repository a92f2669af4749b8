// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// The server speaks HTTP as RFC 9110 and RFC 9112 say, byte for byte.
@Suite(.serialized) struct HTTPIsSpokenProperlyTests {
    private struct Answer: Decodable {
        let status: Int
        let headers: [String: String]
        let body: String
        let more: String
        let seconds: Double
        let isClosed: Bool

        var code: String { body.firstMatch(of: /"code":"([a-z_]+)"/).map { String($0.1) } ?? "" }
    }

    private func ask(_ address: String, _ texts: [String]) async throws -> [Answer] {
        let run = try await Subprocess.run(
            "/usr/bin/python3",
            [WebSocketClients.script("raw_http.py"), address],
            input: String(decoding: try JSONEncoder().encode(texts), as: UTF8.self)
        )
        return try JSONDecoder().decode([Answer].self, from: Data(run.output.utf8))
    }

    @Test func `heads are read as they should be, or refused with what is wrong`() async throws {
        try await TestServer.with(environment: ["MARTLET_CLIENT_HANDSHAKE_TIMEOUT": "30s"]) { server in
            func get(_ target: String, _ fields: String = "Host: localhost\r\n", version: String = "1.1") -> String {
                "GET \(target) HTTP/\(version)\r\n\(fields)\r\n"
            }
            let fields = (0..<100).map { "F\($0): x\r\n" }.joined()
            let fill = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: "
            let table: [(text: String, status: Int, code: String)] = [
                (get("http://localhost:1/healthz"), 200, ""), (get("HTTP://LOCALHOST/healthz?x=1"), 200, ""),
                (get("/healthz#x"), 400, "malformed"), (get("ftp://localhost/healthz"), 400, "malformed"),
                (get("/healthz", "Host: local host\r\n"), 400, "malformed"),
                (get("/healthz", "Host: localhost/x\r\n"), 400, "malformed"),
                (get("/healthz", "Host: localhost\r\n" + fields), 431, "too_many_fields"),
                (fill + String(repeating: "x", count: 16384 - fill.utf8.count), 431, "head_too_large"),
                (String(repeating: "\r\n", count: 500), 400, "malformed"), ("\r\n\r\n" + get("/healthz"), 200, ""),
                (get("/healthz", version: "1.0"), 200, ""),
            ]
            for address in [server.client, server.api] {
                let answers = try await ask(address, table.map(\.text))
                for (row, answer) in zip(table, answers) {
                    #expect(answer.status == row.status && answer.code == row.code, "\(row.text.prefix(60)): \(answer)")
                    #expect(answer.headers["date"]?.hasSuffix(" GMT") == true, "\(answer)")
                    #expect(answer.seconds < 20, "at once, not when patience ends")
                }
            }
        }
    }

    @Test func `connections stay open or end as both sides have said`() async throws {
        try await TestServer.with { server in
            let health = "GET /healthz HTTP/1.0\r\nHost: localhost\r\n"
            let post = "POST /v1/users/u/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
            let answers = try await ask(
                server.api,
                [
                    health + "Connection: keep-alive\r\n\r\n", health + "\r\n",
                    post + "\r\n1" + post + "Expect: 100-continue\r\n\r\n||2",
                    post + "Expect: 100-continue\r\n\r\n||2",
                    post.replacing("users/u/messages", with: "nothing") + "Expect: 100-continue\r\n\r\n",
                ]
            )
            #expect(answers[0].headers["connection"] == "keep-alive" && !answers[0].isClosed)
            #expect(answers[1].headers["connection"] == "close" && answers[1].isClosed)
            let receipt = "{\"matched\":0,\"delivered\":0,\"held\":0,\"failed\":0}"
            #expect(answers[2].body == receipt, "\(answers[2])")
            #expect(answers[2].more.hasPrefix("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "\(answers[2])")
            #expect(answers[2].more.hasSuffix(receipt))
            #expect(answers[3].status == 100 && answers[3].more.hasSuffix(receipt), "\(answers[3])")
            #expect(answers[4].status == 404 && answers[4].isClosed, "nobody waits for a body that goes nowhere")
        }
    }

    @Test func `a body with any content coding is refused, and the coding is named`() async throws {
        try await TestServer.with { server in
            for (coding, body) in [("gzip", "1"), ("br", "1"), ("deflate, gzip", "{")] {
                let fields = ["-H", "Content-Encoding: \(coding)"]
                let answer = try await server.request("POST", "/v1/users/u/messages", body: body, fields)
                #expect(answer.status == 415 && answer.code == "unsupported_content_coding", "\(answer)")
                #expect(answer.body.contains(coding) && answer.headers.contains("Accept-Encoding: identity"))
            }
            let plain = ["-H", "Content-Encoding: identity"]
            #expect(try await server.request("POST", "/v1/users/u/messages", body: "1", plain).status == 200)
        }
    }

    @Test func `an upgrade that a browser would not accept is refused, and says what is missing`() async throws {
        try await TestServer.with { server in
            let fields =
                "Host: localhost\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            let start = "GET /ws?user=u HTTP/1.1\r\n" + fields
            let answers = try await ask(
                server.client,
                [
                    start + "Upgrade: websocket\r\nSec-WebSocket-Protocol: bearer.x\r\n\r\n",
                    start + "Upgrade: websocket\r\nSec-WebSocket-Protocol: graphql-ws\r\n\r\n",
                    start + "Upgrade: websocket\r\nSec-WebSocket-Protocol: bearer.x, martlet\r\n\r\n",
                    start + "Upgrade: websocket\r\nUpgrade: h2c\r\n\r\n", start + "Upgrade: websocket\r\n\r\n",
                ]
            )
            for answer in answers[..<2] {
                #expect(answer.status == 400 && answer.code == "subprotocol_missing", "\(answer)")
                #expect(answer.body.contains("martlet"))
            }
            // Even in development a bad token is checked and refused.
            #expect(answers[2].status == 401)
            #expect(answers[3].status == 426 && answers[4].status == 101)
        }
    }

    @Test func `in development a page whose name was made to point to this machine can read nothing`() async throws {
        try await TestServer.with { server in
            let paths = ["/v1/stats?by_user=true", "/metrics", "/ws?user=u", "/", "/healthz"]
            for (address, paths) in [(server.client, paths), (server.api, Array(paths.prefix(2)))] {
                let foreign = try await ask(
                    address,
                    paths.map { "GET \($0) HTTP/1.1\r\nHost: evil.example:8000\r\n\r\n" }
                        + paths.map { "GET http://evil.example\($0) HTTP/1.1\r\nHost: localhost\r\n\r\n" }
                )
                #expect(foreign.allSatisfy { $0.status == 403 && $0.code == "origin_not_allowed" }, "\(foreign)")
                for host in ["localhost", "127.0.0.1:8000", "[::1]:1", "martlet"] {
                    let own = try await ask(address, ["GET /v1/stats HTTP/1.1\r\nHost: \(host)\r\n\r\n"])
                    #expect(own[0].status == 200)
                }
            }
        }
    }
}
