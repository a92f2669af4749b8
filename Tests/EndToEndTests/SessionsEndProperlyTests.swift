// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// A session ends where it should and nowhere else, its bounds hold, and whoever is not let in is told why.
@Suite(.serialized) struct SessionsEndProperlyTests {
    private func withTokens(
        _ environment: [String: String] = [:],
        _ body: (TestServer, WebSocketClients) async throws -> Void
    ) async throws {
        try await TestServer.withTokens(environment) { try await body($0, WebSocketClients()) }
    }

    private func token(_ server: TestServer, _ user: String, threads: [String] = []) async throws -> String {
        try await server.token(user, threads: threads)
    }

    private func offers(_ resume: String, _ token: String?) -> [String] {
        ["martlet", "resume.\(resume)"] + (token.map { ["bearer.\($0)"] } ?? [])
    }

    @Test(arguments: [
        (1000, false), (1001, false), (3000, false), (4407, false), (4999, false), (4408, true), (1011, true),
    ])
    func `a client's close ends its session, unless it says that its socket was dead`(
        _ code: Int,
        stays: Bool
    )
        async throws
    {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            let first = try await clients.connect("a", server, user: "u", "new")
            clients.close("a", code: code)
            _ = try await clients.closeCode("a")
            let receipt = try await server.publish(1...1, to: "u")
            #expect(receipt == .init(matched: stays ? 1 : 0, delivered: 0, held: stays ? 1 : 0))
            let second = try await clients.resume("b", server, user: "u", first, received: 0)
            #expect(second.resumed == stays && second.resumeError == (stays ? nil : "expired"))
        }
    }

    @Test func `what the client or the backend does wrong ends a session, and what the server does not`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            var greetings: [String: Greeting] = [:]
            for user in ["binary", "backend", "huge", "silent"] {
                greetings[user] = try await clients.connect(user, server, user: user, "new")
            }
            clients.send("binary", hex: "00")
            #expect(try await clients.closeCode("binary") == 1003)
            clients.send("huge", String(repeating: "x", count: 1_100_000))
            #expect(try await clients.closeCode("huge") == 1009)
            #expect(try await server.request("DELETE", "/v1/users/backend/connections").status == 200)
            #expect(try await clients.closeCode("backend") == 1000)
            clients.breakConnection("silent")
            try await server.waitForWaiting(1, of: "silent")
            // The backend ends a session that waits as it ends a connection.
            let ended = try await server.request("DELETE", "/v1/users/silent/connections")
            #expect(ended.body.contains("\"closed\":1"), "\(ended.body)")
            for (user, greeting) in greetings {
                let again = try await clients.resume("\(user) again", server, user: user, greeting, received: 0)
                #expect(again.resumed == false && again.resumeError == "expired", "\(user): \(again)")
            }
        }
    }

    @Test func `a client that is silent is cut off, and its session waits`() async throws {
        let environment = ["MARTLET_CLIENT_HEARTBEAT_INTERVAL": "300ms", "MARTLET_CLIENT_HEARTBEAT_TIMEOUT": "300ms"]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            let first = try await clients.connect("a", server, user: "u", "new")
            clients.signal(SIGSTOP)
            try await server.waitForWaiting(1, of: "u")
            try await server.publish(1...2, to: "u")
            clients.signal(SIGCONT)
            #expect(try await clients.closeCode("a") == 4408)
            // The socket that was closed got nothing of what was sent later.
            #expect(await clients.messages("a") == [])
            let second = try await clients.resume("b", server, user: "u", first, received: 0)
            #expect(second.resumed == true && second.replay == 2)
        }
    }

    @Test func `a client that does not come back in time has lost its session, and is told`() async throws {
        try await TestServer.with(environment: ["MARTLET_CLIENT_RESUME_WINDOW": "1s"]) { server in
            let clients = try WebSocketClients()
            let first = try await clients.connect("a", server, user: "u", "new")
            #expect(first.resumeWindowMs == 1000)
            clients.breakConnection("a")
            try await server.waitForStatistics("nobody") {
                $0.uniqueUsers == 0 && $0.shards.allSatisfy { $0.slotsInUse == 0 }
            }
            #expect(try await server.publish(1...1, to: "u").matched == 0)
            let second = try await clients.resume("b", server, user: "u", first, received: 0)
            #expect(second.resumed == false && second.resumeError == "expired" && second.session != nil)
            #expect(
                try await server.request("GET", "/metrics").body.contains("resume_refused_total{reason=\"expired\"} 1")
            )
        }
        try await TestServer.with(environment: ["MARTLET_CLIENT_RESUME_WINDOW": "0s"]) { server in
            let clients = try WebSocketClients()
            let none = try await clients.connect("a", server, user: "u", "new")
            #expect(none.session == nil && none.resumed == nil)
            clients.breakConnection("a")
            try await server.waitForStatistics("nobody") { $0.uniqueUsers == 0 }
        }
    }

    @Test func `a session keeps as many messages and bytes as it may, and says so when that was too few`() async throws
    {
        let environment = ["MARTLET_CLIENT_RESUME_MESSAGES": "10", "MARTLET_CLIENT_RESUME_BYTES": "1024"]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            for (name, size, fits) in [("count", 1, 10), ("bytes", 92, 10), ("large", 300, 3)] {
                let first = try await clients.connect(name, server, user: name, "new")
                clients.breakConnection(name)
                try await server.waitForWaiting(1, of: name)
                let text = "\"\(String(repeating: "x", count: size))\""
                for _ in 0..<fits {
                    let answer = try await server.request("POST", "/v1/users/\(name)/messages", body: text)
                    #expect(try answer.decoded(TestServer.Receipt.self).held == 1)
                }
                let whole = try await clients.resume("\(name) 1", server, user: name, first, received: 0)
                #expect(whole.resumed == true && whole.replay == fits, "\(name): \(whole)")
                _ = try await clients.messages("\(name) 1", count: fits)
                clients.breakConnection("\(name) 1")
                try await server.waitForWaiting(1, of: name)
                let answer = try await server.request("POST", "/v1/users/\(name)/messages", body: text)
                #expect(try answer.decoded(TestServer.Receipt.self).held == 1, "a publish never waits for a session")
                let cut = try await clients.resume("\(name) 2", server, user: name, whole, received: 0)
                #expect(cut.resumed == false && cut.resumeError == "overflow", "\(name): \(cut)")
            }
            // One that could never be kept is not said to be held.
            let first = try await clients.connect("one", server, user: "one", "new")
            clients.breakConnection("one")
            try await server.waitForWaiting(1, of: "one")
            let text = "\"\(String(repeating: "x", count: 2000))\""
            let answer = try await server.request("POST", "/v1/users/one/messages", body: text)
            #expect(try answer.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 0, failed: 1))
            let second = try await clients.resume("one again", server, user: "one", first, received: 0)
            #expect(second.resumeError == "overflow")
        }
    }

    @Test func `as many sessions wait as may, in number and in bytes; the oldest make room`() async throws {
        let environment = [
            "MARTLET_LIMITS_WAITING_SESSIONS": "3", "MARTLET_CLIENT_RESUME_BYTES": "1024",
            "MARTLET_LIMITS_SESSION_BYTES": "2048", "MARTLET_LIMITS_CONNECTIONS_PER_USER": "2",
        ]
        try await TestServer.with(workers: 1, environment: environment) { server in
            let clients = try WebSocketClients()
            var greetings: [Greeting] = []
            for number in 0..<5 {
                greetings.append(try await clients.connect("\(number)", server, user: "u\(number)", "new"))
                clients.breakConnection("\(number)")
                try await server.waitForWaiting(1, of: "u\(number)")
            }
            for number in 0..<2 { try await server.waitForWaiting(0, of: "u\(number)") }
            let text = "\"\(String(repeating: "x", count: 890))\""
            for number in 2..<5 {
                let answer = try await server.request("POST", "/v1/users/u\(number)/messages", body: text)
                #expect(try answer.decoded(TestServer.Receipt.self).held == 1)
            }
            try await server.waitForWaiting(0, of: "u2")
            let metrics = try await server.request("GET", "/metrics").body
            #expect(metrics.contains("martlet_sessions_evicted_total{shard=\"0\"} 3"), "\(metrics)")
            #expect(metrics.contains("martlet_sessions_held_bytes{shard=\"0\"} 1792"), "\(metrics)")
            for number in 3..<5 {
                let again = try await clients.resume(
                    "\(number) b",
                    server,
                    user: "u\(number)",
                    greetings[number],
                    received: 0
                )
                #expect(again.resumed == true && again.replay == 1)
            }
            // A user's connections are worth more than sessions that wait, and a resume needs no room.
            for number in 0..<2 { _ = try await clients.connect("m\(number)", server, user: "many", "new") }
            _ = try await clients.attempt("m2", server.webSocket("many"), protocols: offers("new", nil))
            #expect(try await clients.closeCode("m2") == 4429)
            clients.breakConnection("m0")
            try await server.waitForWaiting(1, of: "many")
            _ = try await clients.connect("m3", server, user: "many", "new")
            try await server.waitForWaiting(0, of: "many")
        }
    }

    @Test func `a token is worth nothing to another user, with another secret, a wrong count or a room too many`()
        async throws
    {
        try await withTokens { server, clients in
            let url = "ws://\(server.client)/ws"
            func connect(_ name: String, _ resume: String, _ token: String) async throws -> Greeting {
                #expect(try await clients.attempt(name, url, protocols: offers(resume, token)).ev == "open")
                return try TestServer.decode(Greeting.self, from: try await clients.greeting(name))
            }
            let mine = try await token(server, "u", threads: ["t"])
            var greeting = try await connect("a", "new", mine)
            clients.send("a", "{\"type\":\"join_thread\",\"thread_id\":\"t\"}")
            _ = try await clients.messages("a", count: 1)
            let session = try #require(greeting.session)
            let id = greeting.connectionId
            let guesses = [
                session + ".5000000000", session + "." + String(repeating: "9", count: 11), session, session + ".x",
                "." + session, "",
            ]
            for guess in guesses {
                let answer = try await clients.attempt("malformed \(guess)", url, protocols: offers(guess, mine))
                #expect(answer.status == 400 && answer.body?.contains("resume.TOKEN.N") == true, "\(guess): \(answer)")
            }
            for (number, guess) in [
                id + String(session.dropFirst(15).reversed()), id + "AAAAAAAAAAAAAAAAAAAAAA", id, "x",
            ]
            .enumerated() {
                let refused = try await connect("guess \(number)", guess + ".1", mine)
                #expect(
                    refused.resumed == false && refused.resumeError == "unknown" && refused.connectionId != id,
                    "\(guess)"
                )
            }
            let others = try await connect("other", session + ".1", try await token(server, "v"))
            #expect(others.resumed == false && others.resumeError == "unknown")
            // It lives on: guesses cost it nothing.
            let path = "/v1/connections/\(id)/messages"
            let answer = try await server.request("POST", path, body: "1", IdentityIsProvenTests.key)
            #expect(try answer.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1), "\(answer)")
            #expect(try await clients.messages("a", count: 2).last == "1")
            let ahead = try await connect("ahead", session + ".3", mine)
            #expect(ahead.resumed == false && ahead.resumeError == "ahead")
            #expect(try await clients.closeCode("a") == 4409)

            greeting = try await connect("b", "new", mine)
            clients.send("b", "{\"type\":\"join_thread\",\"thread_id\":\"t\"}")
            _ = try await clients.messages("b", count: 1)
            // A room that the backend has put the user into needs no token; another one does.
            let bind = try await server.request("PUT", "/v1/threads/t/users/u", IdentityIsProvenTests.key)
            #expect(bind.status == 200)
            let bound = try await connect("bound", "\(try #require(greeting.session)).1", try await token(server, "u"))
            #expect(bound.resumed == true)
            let unbind = try await server.request("DELETE", "/v1/threads/t/users/u", IdentityIsProvenTests.key)
            #expect(unbind.status == 200)
            greeting = try await connect("c", "new", mine)
            let less = try await connect("less", "\(try #require(greeting.session)).1", try await token(server, "u"))
            #expect(less.resumed == false && less.resumeError == "forbidden")
            #expect(try await clients.closeCode("c") == 4409)
        }
    }

    @Test func `whoever asks for a session is let in, and told by a close frame why it may not stay`() async throws {
        let environment = ["MARTLET_LIMITS_CONNECTIONS_PER_USER": "1", "MARTLET_LIMITS_CONNECTIONS": "2"]
        try await withTokens(environment) { server, clients in
            let url = "ws://\(server.client)/ws"
            func told(_ name: String, _ url: String, _ token: String?) async throws -> (Int?, String?) {
                #expect(try await clients.attempt(name, url, protocols: offers("new", token)).ev == "open", "\(name)")
                let code = try await clients.closeCode(name)
                return (code, await clients.events.events.last { $0.name == name }?.reason)
            }
            let good = try await token(server, "u")
            let missing = "send a token: Authorization: Bearer, or the subprotocol bearer.TOKEN beside martlet"
            #expect(try await told("no token", url, nil) == (4401, missing))
            #expect(try await told("bad token", url, good + "x").0 == 4401)
            #expect(try await told("room", url + "?thread_id=t", good) == (4403, "the token does not name this thread"))
            _ = try await clients.attempt("a", url, protocols: offers("new", good))
            _ = try await clients.greeting("a")
            #expect(try await told("too many", url, good).0 == 4429)
            // Whoever asks for none gets HTTP, as before.
            let old = try await clients.attempt("old many", url, protocols: ["martlet", "bearer.\(good)"])
            #expect(old.status == 429 && old.body?.contains("too_many_connections_of_user") == true)
            _ = try await clients.attempt("b", url, protocols: offers("new", try await token(server, "v")))
            _ = try await clients.greeting("b")
            #expect(try await told("full", url, try await token(server, "w")).0 == 1013)
            #expect(try await clients.attempt("old", url, protocols: ["martlet"]).status == 401)
            // And so does whoever waits for another answer on the same connection, which is not lost.
            let upgrade =
                "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            let key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nMartlet-Resume: new\r\n\r\n"
            let input = try JSONEncoder().encode([
                "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n" + upgrade + key, upgrade + key,
            ])
            let script = WebSocketClients.script("raw_http.py")
            let run = try await Subprocess.run(
                "/usr/bin/python3",
                [script, server.client],
                input: String(decoding: input, as: UTF8.self)
            )
            struct Raw: Decodable { let status: Int, more: String }
            let raw = try JSONDecoder().decode([Raw].self, from: Data(run.output.utf8))
            #expect(raw[0].status == 200 && raw[0].more.hasPrefix("HTTP/1.1 401 "), "\(raw[0])")
            #expect(raw[1].status == 101, "\(raw[1])")
            let statistics = try await server.request("GET", "/metrics", IdentityIsProvenTests.key).body
            #expect(statistics.contains("martlet_handshakes_refused_total{reason=\"unauthorized\"} 5"), "\(statistics)")
        }
    }

    @Test func `what clients confirm wrongly costs others nothing`() async throws {
        try await TestServer.with(workers: 1) { server in
            let clients = try WebSocketClients()
            let greeting = try await clients.connect("a", server, user: "u", "new")
            for round in 1...20 {
                // A pong of theirs is kept, one of WebSocket's leaves a gap, and the count is one too high.
                clients.send("a", "{\"type\":\"ping\"}")
                clients.ping("a")
                clients.send("a", "{\"type\":\"ack\",\"received\":\(2 * round)}")
                _ = try await clients.messages("a", count: 2 * round)
            }
            #expect(await clients.messages("a").count { $0.contains("\"code\":\"ahead\"") } == 20)
            let again = try await clients.resume("b", server, user: "u", greeting, received: 0)
            #expect(again.resumed == true && again.replay == 40)
            _ = try await clients.messages("b", count: 40)
            clients.send("b", "{\"type\":\"ack\",\"received\":40}")
            clients.close("b")
            _ = try await clients.closeCode("b")
            try await server.waitForStatistics("nobody") { $0.uniqueUsers == 0 }
            let metrics = try await server.request("GET", "/metrics").body
            #expect(metrics.contains("martlet_sessions_held_bytes{shard=\"0\"} 0\n"), "\(metrics)")
        }
    }

    @Test func `what a session's client says wrong has its number, and confirming costs nothing of its rate`()
        async throws
    {
        let environment = ["MARTLET_LIMITS_MESSAGES_PER_SECOND": "1", "MARTLET_LIMITS_MESSAGE_BURST": "3"]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            _ = try await clients.connect("a", server, user: "u", "new")
            try await server.publish(1...320, to: "u")
            _ = try await clients.messages("a", count: 320)
            for count in 1...10 { clients.send("a", "{\"type\":\"ack\",\"received\":\(32 * count)}") }
            clients.send("a", "{\"type\":\"ack\",\"received\":321}")
            clients.send("a", "{\"type\":\"nonsense\"}")
            clients.send("a", "{\"type\":\"ping\"}")
            clients.send("a", "{\"type\":\"ping\"}")
            let texts = try await clients.messages("a", count: 324).dropFirst(320)
            let expected = [
                #/"code":"ahead",.*"number":11\}/#, #/"code":"unsupported_type",.*"number":12\}/#,
                #/"type":"pong",.*"received":13\}/#, #/"code":"rate_limited",.*"number":14,"retry_after_ms":\d+\}/#,
            ]
            for (text, pattern) in zip(texts, expected) { #expect(text.contains(pattern), "\(text)") }
            // A ping of WebSocket's has no number: whoever sent it must not send the last message again.
            clients.ping("a")
            let refused = try await clients.messages("a", count: 325).last
            #expect(
                refused?.contains("rate_limited") == true && refused?.contains("number") == false,
                "\(refused ?? "")"
            )
        }
    }
}
