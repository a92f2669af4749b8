// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import Support
import Testing

/// Nobody is let in without proof of identity: clients use tokens of another library, backends use keys.
@Suite(.serialized) struct IdentityIsProvenTests {
    static let secret = String(repeating: "s3cret-", count: 12)
    private static let previous = String(repeating: "before-", count: 12)
    static let apiKey = "key-of-the-backend-0123456789"

    /// Runs a server that is not in development mode, with tokens for it, by name.
    private static func withServer(
        environment: [String: String] = [:],
        _ body: (TestServer, [String: String]) async throws -> Void
    ) async throws {
        nonisolated(unsafe) var tokens: [String: String] = [:]
        try await TestServer.with(
            isDevelopment: false,
            environment: environment,
            prepare: { folder in
                let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                    .appendingPathComponent("Support/Clients/tokens.py").path
                let python = ProcessInfo.processInfo.environment["MARTLET_PYTHON"] ?? "/usr/bin/python3"
                let run = try await Subprocess.run(python, [script, folder, secret, previous, "https://id", "martlet"])
                tokens = try JSONDecoder().decode([String: String].self, from: Data(run.output.utf8))
                let files = ["secret": secret + "\n", "previous": previous, "keys": "# backend\n\n\(apiKey)\n"]
                for (name, text) in files {
                    let path = "\(folder)/\(name)"
                    try text.write(toFile: path, atomically: true, encoding: .utf8)
                    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
                }
                return [
                    "MARTLET_AUTH_HMAC_SECRET_FILE": folder + "/secret",
                    "MARTLET_AUTH_PREVIOUS_HMAC_SECRET_FILE": folder + "/previous",
                    "MARTLET_AUTH_JWKS_FILE": folder + "/jwks.json", "MARTLET_AUTH_ISSUER": "https://id",
                    "MARTLET_AUTH_AUDIENCE": "martlet", "MARTLET_AUTH_API_KEYS_FILE": folder + "/keys",
                ]
            }
        ) { server in try await body(server, tokens) }
    }

    private func bearer(_ token: String?) -> [String: String] { ["Authorization": "Bearer \(token ?? "")"] }
    static let key = ["-H", "Authorization: Bearer \(apiKey)"]
    private var key: [String] { Self.key }

    private struct Strangers: Decodable {
        let asked: Int
        let closed: Int
        let statuses: [String: Int]
    }

    private static func strangers(_ server: TestServer, _ more: [String]) async throws -> Strangers {
        let arguments = [WebSocketClients.script("strangers.py"), server.client] + more
        let run = try await Subprocess.run("/usr/bin/python3", arguments)
        return try JSONDecoder().decode(Strangers.self, from: Data(run.output.utf8))
    }

    @Test func `clients without a token lock nobody out, and a refusal ends their connection`() async throws {
        try await Self.withServer(environment: ["MARTLET_LIMITS_HANDSHAKES_PER_SECOND": "100"]) { server, tokens in
            let good = try #require(tokens.first { $0.key.hasPrefix("good ") && !$0.key.contains("other") }?.value)
            let bad = try #require(tokens.first { $0.key.hasPrefix("bad token_signature") }?.value)
            for token in ["", bad] {
                async let strangers = Self.strangers(server, ["3", token])
                let clients = try WebSocketClients()
                var opened = 0
                for number in 0..<40 {
                    let answer = try await clients.attempt(
                        "\(token.isEmpty) \(number)",
                        "ws://\(server.client)/ws",
                        headers: bearer(good)
                    )
                    if answer.ev == "open" { opened += 1 }
                    clients.close("\(token.isEmpty) \(number)")
                }
                #expect(opened == 40)
                let report = try await strangers
                #expect(report.statuses["101"] == nil && report.statuses["401", default: 0] > 20)
                // There is one answer for each connection, however many requests it sent.
                #expect(report.statuses.values.reduce(0, +) <= report.closed, "\(report)")
            }
        }
    }

    @Test
    func `an address whose tokens are bad again and again waits, the others do not, and nor does a good one later`()
        async throws
    {
        let environment = [
            "MARTLET_LIMITS_BAD_TOKENS_PER_SECOND": "5", "MARTLET_CLIENT_TRUSTED_PROXIES": "127.0.0.1",
        ]
        try await Self.withServer(environment: environment) { server, tokens in
            let good = try #require(tokens.first { $0.key.hasPrefix("good ") && !$0.key.contains("other") }?.value)
            let bad = try #require(tokens.first { $0.key.hasPrefix("bad token_signature") }?.value)
            let report = try await Self.strangers(server, ["2", bad, "192.0.2.7"])
            // Each of two workers allows 20 at once, and 5 a second.
            #expect((20...80).contains(report.statuses["401", default: 0]), "\(report)")
            #expect(report.statuses["429", default: 0] > report.statuses["401", default: 0], "\(report)")
            let clients = try WebSocketClients()
            let url = "ws://\(server.client)/ws"
            let other = bearer(good).merging(["X-Forwarded-For": "192.0.2.8"]) { $1 }
            #expect(try await clients.attempt("other", url, headers: other).ev == "open")
            let same = bearer(good).merging(["X-Forwarded-For": "192.0.2.7"]) { $1 }
            var tries = 0
            var answer = try await clients.attempt("same 0", url, headers: same)
            while answer.ev != "open", tries < 2000 {
                #expect(answer.status == 429 && answer.body?.contains("too_many_bad_tokens") == true)
                #expect(answer.headers?["Retry-After"] == "1")
                tries += 1
                answer = try await clients.attempt("same \(tries)", url, headers: same)
            }
            #expect(answer.ev == "open")
            let metrics = try await server.request("GET", "/metrics", key).body
            #expect(metrics.contains("martlet_handshakes_refused_total{reason=\"handshake_rate\"}"))
        }
    }

    @Test func `tokens of every algorithm are taken, and every bad one is refused with its code`() async throws {
        try await Self.withServer { server, tokens in
            let clients = try WebSocketClients()
            let url = "ws://\(server.client)/ws"
            #expect(tokens.count > 35)
            for (name, token) in tokens.sorted(by: { $0.key < $1.key }) {
                let answer = try await clients.attempt(name, url, headers: bearer(token))
                if name.hasPrefix("good ") {
                    #expect(answer.ev == "open", "\(name): \(answer.body ?? "")")
                    let user = name.contains("other user") ? "bob" : name.contains("non-ASCII") ? "用户1" : "alice"
                    #expect(try await clients.greeting(name).contains("\"user_id\":\"\(user)\""))
                    if name == "good in nanoseconds" {
                        let id =
                            try await clients.greeting(name).firstMatch(of: /"connection_id":"([0-9a-z]+)"/)?.1 ?? ""
                        let shown = try await server.request("GET", "/v1/connections/\(id)", key).body
                        #expect(shown.contains("\"expires_at\":\"9999-12-31T23:59:59.000Z\""), "\(shown)")
                    }
                } else {
                    let code = name.dropFirst(4).prefix { $0 != " " }
                    #expect(answer.status == 401 && answer.body?.contains("\"code\":\"\(code)\"") == true, "\(name)")
                    #expect(answer.headers?["WWW-Authenticate"] == "Bearer error=\"invalid_token\"")
                    #expect(answer.body?.contains(token) == false, "a token is never shown")
                }
            }
            let none = try await clients.attempt("none", url)
            #expect(none.status == 401 && none.body?.contains("token_missing") == true)
            let user = try await clients.attempt("user", url + "?user=alice")
            #expect(user.status == 401, "a name is no proof")
            // The whole log has arrived once its last line has.
            try await server.stop()
            try await server.log(with: "Stopped")
            let log = await server.log().joined(separator: "\n")
            #expect(!log.contains(Self.secret) && !log.contains("eyJ"))
        }
    }

    @Test func `a browser brings its token as a subprotocol, and in the query only where that is allowed`() async throws
    {
        try await Self.withServer(environment: ["MARTLET_CLIENT_TOKEN_IN_QUERY": "true"]) { server, tokens in
            let clients = try WebSocketClients()
            let token = tokens["good ES256"] ?? ""
            let browser = try await clients.attempt(
                "browser",
                "ws://\(server.client)/ws",
                protocols: ["martlet", "bearer.\(token)"]
            )
            #expect(browser.ev == "open" && browser.protocol == "martlet")
            // If a site has its own password, the browser sends that too.
            let protected = try await clients.attempt(
                "protected",
                "ws://\(server.client)/ws",
                protocols: ["martlet", "bearer.\(token)"],
                headers: ["Authorization": "Basic YTpi"]
            )
            #expect(protected.ev == "open")
            let basic = try await clients.attempt(
                "basic",
                "ws://\(server.client)/ws",
                headers: ["Authorization": "Basic YTpi"]
            )
            #expect(basic.status == 401 && basic.body?.contains("token_missing") == true)
            let alone = try await clients.attempt("alone", "ws://\(server.client)/ws", protocols: ["bearer.\(token)"])
            #expect(alone.status == 400 && alone.body?.contains("subprotocol_missing") == true)
            #expect(try await clients.attempt("query", "ws://\(server.client)/ws?token=\(token)").ev == "open")
        }
        try await Self.withServer { server, tokens in
            let clients = try WebSocketClients()
            let token = tokens["good ES256"] ?? ""
            #expect(try await clients.attempt("query", "ws://\(server.client)/ws?token=\(token)").status == 401)
        }
    }

    @Test func `a client is in the rooms of its token, and may join those and no others`() async throws {
        try await Self.withServer { server, tokens in
            let clients = try WebSocketClients()
            let url = "ws://\(server.client)/ws"
            _ = try await clients.attempt("a", url, headers: bearer(tokens["good HS256"]))
            _ = try await clients.greeting("a")
            for path in ["/v1/threads/t1/messages", "/v1/threads/t2/messages", "/v1/jobs/j1/messages"] {
                let sent = try await server.request("POST", path, body: "1", key)
                #expect(try sent.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1))
            }
            clients.send("a", "{\"type\":\"leave_thread\",\"thread_id\":\"t1\"}")
            clients.send("a", "{\"type\":\"join_thread\",\"thread_id\":\"t1\"}")
            clients.send("a", "{\"type\":\"join_thread\",\"thread_id\":\"t3\"}")
            clients.send("a", "{\"type\":\"join_job\",\"job_id\":\"j2\"}")
            let answers = try await clients.messages("a", count: 7).dropFirst(3)
            #expect(answers.map { $0.contains("\"code\":\"forbidden\"") } == [false, false, true, true])
            let refused = try await clients.attempt("b", url + "?thread_id=t3", headers: bearer(tokens["good HS256"]))
            #expect(refused.status == 403 && refused.body?.contains("thread_not_allowed") == true)
            let taken = try await clients.attempt("c", url + "?thread_id=t2", headers: bearer(tokens["good HS256"]))
            #expect(taken.ev == "open")
            struct Connection: Decodable { let metadata: [String: String]?, threads: [String], jobs: [String] }
            struct List: Decodable { let connections: [Connection] }
            let list = try await server.request("GET", "/v1/users/alice/connections", key).decoded(List.self)
            #expect(list.connections.first?.metadata == ["plan": "pro"])
            #expect(list.connections.first?.threads.sorted() == ["t1", "t2"] && list.connections.first?.jobs == ["j1"])
        }
    }

    @Test func `the expiry of a token is announced, and closes with 4401 unless the token is renewed`() async throws {
        try await Self.withServer(environment: ["MARTLET_AUTH_LEEWAY": "0s"]) { server, tokens in
            let clients = try WebSocketClients()
            for name in ["ends", "renews"] {
                let answer = try await clients.attempt(
                    name,
                    "ws://\(server.client)/ws",
                    headers: bearer(tokens["good soon"])
                )
                try #require(answer.ev == "open")
            }
            for name in ["ends", "renews"] {
                let warning = try await clients.messages(name, count: 1)[0]
                #expect(warning.hasPrefix("{\"type\":\"token_expiring\",\"expires_at\":\"20"))
            }
            let attempts = ["bad token_expired", "good other user", "good one room"]
            for name in attempts {
                clients.send("renews", "{\"type\":\"authenticate\",\"token\":\"\(tokens[name] ?? "")\"}")
            }
            let answers = try await clients.messages("renews", count: 4)
            #expect(answers[1].contains("\"code\":\"token_expired\"") && answers[2].contains("\"code\":\"forbidden\""))
            #expect(answers[3].hasPrefix("{\"type\":\"authenticated\",\"expires_at\":\"20"))
            #expect(try await clients.closeCode("ends") == 4401)
            // The client is in the rooms of the new token.
            for (path, matched) in [("threads/t1", 0), ("threads/t2", 1), ("threads/t3", 1), ("jobs/j1", 0)] {
                let sent = try await server.request("POST", "/v1/\(path)/messages", body: "\"\(path)\"", key)
                #expect(try sent.decoded(TestServer.Receipt.self).matched == matched, "\(path)")
            }
            let last = try await clients.messages("renews", count: 6).suffix(2)
            #expect(last.sorted() == ["\"threads/t2\"", "\"threads/t3\""])
        }
    }

    @Test func `a backend needs a key on a network; health does not`() async throws {
        try await Self.withServer { server, _ in
            let cases: [([String], Int, String?)] = [
                ([], 401, "key_missing"), (["-H", "Authorization: Bearer wrong"], 401, "key_wrong"),
                (["-H", "Authorization: Basic \(Self.apiKey)"], 401, "key_missing"),
                (["-H", "Authorization: Bearer \(Self.apiKey)x"], 401, "key_wrong"), (key, 200, nil),
            ]
            for (fields, status, code) in cases {
                for path in ["/v1/stats", "/metrics", "/v1/users/u/connections"] {
                    let answer = try await server.request("GET", path, fields)
                    #expect(answer.status == status && answer.code == code, "\(path) \(fields)")
                }
                let batch = try await server.request("POST", "/v1/batch", body: "{\"all\":true,\"message\":1}", fields)
                #expect(batch.status == status && (status == 200 || batch.code == code))
            }
            #expect(try await server.request("GET", "/v1/nothing").status == 401, "not even what there is")
            #expect(try await server.request("GET", "/v1/nothing", key).status == 404)
            #expect(try await server.request("POST", "/v1/tokens?user=u", key).status == 404, "for operators only")
            for path in ["/healthz", "/readyz"] { #expect(try await server.request("GET", path).status == 200) }
            let metrics = try await server.request("GET", "/metrics", key).body
            #expect(metrics.split(separator: "\n").contains { $0.hasPrefix("martlet_api_unauthorized_total{") })
        }
    }

    @Test func `on a Unix socket the service's own user needs no key`() async throws {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-api-\(UUID().uuidString.prefix(8)).sock"
        try await Self.withServer(environment: ["MARTLET_API_LISTEN": "unix:\(path)"]) { server, _ in
            let statistics = try await server.statistics()
            #expect(server.api == "unix:\(path)" && statistics.totalConnections == 0)
        }
    }

    @Test(arguments: ["trusted", "key"])
    func `anyone who may open the API's Unix socket needs no key, unless it is required`(_ who: String) async throws {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-api-\(UUID().uuidString.prefix(8)).sock"
        let environment = ["MARTLET_API_LISTEN": "unix:\(path)", "MARTLET_API_UNIX_SOCKET": who]
        try await Self.withServer(environment: environment) { server, _ in
            // The script runs as another user, who can open the socket.
            let script = """
                import os, socket, sys
                os.chmod(sys.argv[1], 0o666)
                if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)
                s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
                s.sendall(b"POST /v1/broadcast HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 1\\r\\nConnection: close\\r\\n\\r\\n1")
                print(s.makefile().readline().split()[1])
                """
            let run = try await Subprocess.run("/usr/bin/python3", ["-c", script, path])
            // If the tests do not run as root, it is the service's own user.
            #expect(run.output == (who == "key" && geteuid() == 0 ? "401\n" : "200\n"), "\(run)")
        }
    }

    @Test func `pages of other origins may not connect`() async throws {
        let allowed = "https://app.example.com, https://*.example.org"
        try await Self.withServer(environment: ["MARTLET_CLIENT_ALLOWED_ORIGINS": allowed]) { server, tokens in
            let clients = try WebSocketClients()
            let cases = [
                ("https://app.example.com", true), ("https://a.b.example.org", true), ("https://example.org", false),
                ("https://evil.com", false), ("null", false), ("http://app.example.com", false),
            ]
            for (origin, isAllowed) in cases {
                let fields = bearer(tokens["good HS256"]).merging(["Origin": origin]) { $1 }
                let answer = try await clients.attempt(origin, "ws://\(server.client)/ws", headers: fields)
                #expect((answer.ev == "open") == isAllowed, "\(origin)")
                if !isAllowed { #expect(answer.status == 403 && answer.body?.contains("origin_not_allowed") == true) }
            }
        }
    }

    @Test func `martletctl makes tokens that the server accepts, and checks those that it is given`() async throws {
        try await Self.withServer { server, tokens in
            let made = try await server.control(["token", "--user", "用户9", "--ttl", "5m", "--thread", "t7"])
            #expect(made.code == 0)
            let token = made.output.trimmingCharacters(in: .whitespacesAndNewlines)
            let clients = try WebSocketClients()
            let answer = try await clients.attempt("made", "ws://\(server.client)/ws", headers: bearer(token))
            #expect(answer.ev == "open")
            #expect(try await clients.greeting("made").contains("\"user_id\":\"用户9\""))
            let good = try await server.control(["check-token", "-"], input: token + "\n")
            #expect(good.code == 0 && good.output.contains("用户9") && good.output.contains("t7"))
            let bad = try await server.control(["check-token", tokens["bad token_expired"] ?? ""])
            #expect(bad.code == 1 && bad.error.contains("has expired") && bad.error.contains("token_expired"))
            for name in ["good in nanoseconds", "good without end"] {
                #expect(try await server.control(["check-token", tokens[name] ?? ""]).code == 0, "\(name)")
            }
            let rooms = (0..<65).flatMap { ["--thread", "t\($0)"] }
            let many = try await server.control(["token", "--user", "u"] + rooms)
            #expect(many.code == 1 && many.error.contains("at most 64 rooms"))
            #expect(try await server.control(["token", "--user", "u", "--ttl", "soon"]).code == 2)
        }
    }
}
