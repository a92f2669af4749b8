// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Every bad request gets an answer that says what is wrong, and the server continues to serve.
@Suite(.serialized) struct BadRequestsAreAnsweredTests {
    @Test func `the API refuses with a status, a stable code and a sentence`() async throws {
        try await TestServer.with { server in
            let table: [(method: String, path: String, body: String?, more: [String], status: Int, code: String)] = [
                ("POST", "/v1/users/u/messages", "{\"a\":", [], 400, "invalid_json"),
                ("POST", "/v1/broadcast", "", [], 400, "invalid_json"),
                ("POST", "/v1/users/u/messages", nil, [], 411, "length_required"),
                (
                    "POST", "/v1/users/u/messages", "1", ["-H", "Transfer-Encoding: gzip, chunked"], 501,
                    "unknown_transfer_coding"
                ),
                (
                    "POST", "/v1/users/u/messages", "1", ["-H", "Content-Type: application/xml"], 415,
                    "unsupported_media_type"
                ),
                ("POST", "/v1/users//messages", "1", [], 400, "invalid_user"),
                ("POST", "/v1/users/%zz/messages", "1", [], 400, "malformed"),
                ("GET", "/v1/nothing", nil, [], 404, "not_found"), ("GET", "/", nil, [], 404, "not_found"),
                ("PATCH", "/v1/users/u/connections", nil, [], 405, "method_not_allowed"),
                ("DELETE", "/v1/users/u/connections?code=999", nil, [], 400, "invalid_code"),
                ("GET", "/v1/connections/nope", nil, [], 404, "unknown_connection"),
                ("GET", "/v1/stats/shards/9", nil, [], 404, "unknown_shard"),
                ("GET", "/v1/stats", nil, ["-H", "Origin: http://evil.example"], 403, "origin_not_allowed"),
                ("GET", "/v1/stats", nil, ["-H", "X: " + String(repeating: "x", count: 17000)], 431, "head_too_large"),
            ]
            for row in table {
                let answer = try await server.request(row.method, row.path, body: row.body, row.more)
                #expect(answer.status == row.status, "\(row.method) \(row.path): \(answer.body)")
                #expect(answer.code == row.code, "\(row.method) \(row.path): \(answer.body)")
                #expect(answer.headers.contains("application/problem+json"))
            }
            let file = server.folder + "/large.json"
            try ("\"" + String(repeating: "x", count: 5_000_000) + "\"").write(
                toFile: file,
                atomically: true,
                encoding: .utf8
            )
            let large = try await server.request("POST", "/v1/broadcast", body: "@\(file)")
            #expect(large.status == 413 && large.code == "body_too_large")
            #expect(try await server.request("PATCH", "/v1/stats").headers.contains("Allow: GET, HEAD"))
            #expect(try await server.publish("{}", toUser: "nobody") == .init(matched: 0, delivered: 0))
            #expect(try await server.request("GET", "/healthz").status == 200)
            #expect(try await server.request("GET", "/readyz").body == "ready\n")
        }
    }

    @Test func `a handshake that cannot be accepted is refused before the upgrade`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            let long = String(repeating: "x", count: 257)
            let table: [(path: String, status: Int)] = [
                ("/ws", 401), ("/ws?user=", 400), ("/ws?user=\(long)", 400), ("/ws?user=%FF", 400),
                ("/nothing?user=u", 404),
                ("/ws?user=u&thread_id=", 400),
            ]
            for (index, row) in table.enumerated() {
                let answer = try await clients.attempt("r\(index)", "ws://\(server.client)\(row.path)")
                #expect(answer.status == row.status, "\(row.path): \(answer)")
                #expect(answer.headers?["Content-Type"] == "application/problem+json")
            }
            let foreign = try await server.curl([
                "http://\(server.client)/ws?user=u", "-H", "Upgrade: websocket", "-H", "Connection: Upgrade", "-H",
                "Origin: http://evil.example",
            ])
            #expect(foreign.status == 403 && foreign.code == "origin_not_allowed")
            let plain = try await server.curl(["http://\(server.client)/ws?user=u"])
            #expect(plain.status == 426 && plain.headers.contains("Upgrade: websocket"))
            let old = try await server.curl([
                "http://\(server.client)/ws?user=u", "-H", "Upgrade: websocket", "-H", "Connection: Upgrade", "-H",
                "Sec-WebSocket-Version: 8",
            ])
            #expect(old.status == 426 && old.headers.contains("Sec-WebSocket-Version: 13"))
            #expect(try await server.curl(["http://\(server.client)/healthz"]).status == 200)
            #expect(try await server.curl(["http://\(server.client)/"]).body.contains("<title>Martlet</title>"))
            let chosen = try await clients.attempt("p", server.webSocket("u"), protocols: ["other", "martlet"])
            #expect(chosen.ev == "open" && chosen.protocol == "martlet")
        }
    }

    @Test func `a head that does not come in time is answered 408, and its connection is closed`() async throws {
        try await TestServer.with(environment: ["MARTLET_CLIENT_HANDSHAKE_TIMEOUT": "100ms"]) { server in
            let script = """
                import socket, sys
                host, port = sys.argv[1].split(":")
                s = socket.create_connection((host, int(port)), 10)
                s.sendall(b"GET /ws HTTP/1.1\\r\\nHost: localhost\\r\\n")
                data = b""
                while piece := s.recv(4096): data += piece
                print(data.decode())
                """
            let run = try await Subprocess.run("/usr/bin/python3", ["-c", script, server.client])
            #expect(run.output.hasPrefix("HTTP/1.1 408 "))
        }
    }

    @Test func `requests that are pipelined are answered in order, whichever shard answers`() async throws {
        try await TestServer.with { server in
            let script = """
                import socket, sys, json, re
                host, port = sys.argv[1].split(":")
                s = socket.create_connection((host, int(port)), 10)
                count = 400
                for n in range(count):
                    path = "/v1/users/u%d/connections" % n if n % 3 else "/healthz"
                    s.sendall(("GET %s HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n" % path).encode())
                data, bodies = b"", []
                while len(bodies) < count:
                    data += s.recv(65536)
                    while (end := data.find(b"\\r\\n\\r\\n")) >= 0:
                        length = int(re.search(rb"Content-Length: (\\d+)", data[:end])[1])
                        if len(data) < end + 4 + length: break
                        bodies.append(data[end + 4:end + 4 + length].decode())
                        data = data[end + 4 + length:]
                good = all(b == ('{"connections":[]}' if n % 3 else "ok\\n") for n, b in enumerate(bodies))
                print("good" if good else bodies)
                """
            let run = try await Subprocess.run("/usr/bin/python3", ["-c", script, server.api])
            #expect(run.output == "good\n")
        }
    }
}
