// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Every limit holds, exactly if possible, and a client that reaches it learns which one it is and what to do.
@Suite(.serialized) struct LimitsHoldTests {
    @Test func `of 100 connections at once, a user who may have ten gets exactly ten`() async throws {
        try await TestServer.with(environment: ["MARTLET_LIMITS_CONNECTIONS_PER_USER": "10"]) { server in
            for user in ["alice", "用户1"] {
                let clients = try WebSocketClients()
                let answers = try await clients.attemptAll((0..<100).map { ("\($0)", server.webSocket(user)) })
                #expect(answers.count { $0.ev == "open" } == 10)
                let refused = answers.filter { $0.ev == "refused" }
                #expect(refused.count == 90 && refused.allSatisfy { $0.status == 429 })
                #expect(refused.allSatisfy { $0.body?.contains("too_many_connections_of_user") == true })
                #expect(refused.allSatisfy { $0.headers?["Retry-After"] == "5" })
                #expect(try await server.publish("1", toUser: user) == .init(matched: 10, delivered: 10))
            }
            let metrics = try await server.request("GET", "/metrics").body
            #expect(metrics.contains("martlet_handshakes_refused_total{reason=\"user_limit\"} 180"))
        }
    }

    @Test func `of 100 connections at once, the newest ten stay if the oldest are replaced`() async throws {
        let environment = [
            "MARTLET_LIMITS_CONNECTIONS_PER_USER": "10", "MARTLET_LIMITS_OVER_USER_LIMIT": "replace_oldest",
        ]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            let answers = try await clients.attemptAll((0..<100).map { ("\($0)", server.webSocket("alice")) })
            #expect(answers.allSatisfy { $0.ev == "open" })
            try await clients.events.wait("90 closes") { $0.count { $0.ev == "closed" } == 90 }
            let codes = await clients.events.events.filter { $0.ev == "closed" }.map(\.code)
            #expect(codes.allSatisfy { $0 == 4409 })
            #expect(try await server.publish("1", toUser: "alice") == .init(matched: 10, delivered: 10))
            let ordered = try WebSocketClients()
            for number in 0..<13 { _ = try await ordered.attempt("\(number)", server.webSocket("bob")) }
            for number in 0..<3 { #expect(try await ordered.closeCode("\(number)") == 4409, "the oldest first") }
            #expect(await ordered.events.events.count { $0.ev == "closed" } == 3)
        }
    }

    @Test func `the node has no more connections than it may, over all shards together`() async throws {
        try await TestServer.with(environment: ["MARTLET_LIMITS_CONNECTIONS": "20"]) { server in
            let clients = try WebSocketClients()
            // They come one after another: two that compete for the last place may both be refused.
            var opened = 0
            for number in 0..<30 {
                let answer = try await clients.attempt("\(number)", server.webSocket("user-\(number)"))
                if answer.ev == "open" {
                    opened += 1
                } else {
                    #expect(answer.status == 503 && answer.body?.contains("full") == true)
                }
            }
            #expect(opened == 20)
            clients.close("0")
            _ = try await clients.closeCode("0")
            try await server.waitForStatistics("one less") { $0.shards.map(\.slotsInUse).reduce(0, +) == 19 }
            #expect(try await clients.attempt("again", server.webSocket("again")).ev == "open")
        }
    }

    @Test func `an address has no more connections than it may; behind a proxy the client's own counts`() async throws {
        let environment = [
            "MARTLET_LIMITS_CONNECTIONS_PER_ADDRESS": "5", "MARTLET_CLIENT_TRUSTED_PROXIES": "127.0.0.1",
        ]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            for (address, count) in [("192.0.2.1", 5), ("192.0.2.2", 5), ("2001:db8::1", 3), ("2001:db8::2", 2)] {
                var opened = 0
                for number in 0..<8 {
                    let answer = try await clients.attempt(
                        "\(address)-\(number)",
                        server.webSocket("user-\(number)"),
                        headers: ["X-Forwarded-For": "203.0.113.9, \(address)"]
                    )
                    if answer.ev == "open" { opened += 1 }
                    if number == 7 { #expect(answer.body?.contains("too_many_connections_of_address") == true) }
                    // The first address gets three of the network's five places.
                    if address == "2001:db8::1", opened == 3 { break }
                }
                #expect(opened == count, "\(address)")
            }
            for number in 0..<5 { clients.close("192.0.2.1-\(number)") }
            try await server.waitForStatistics("ten left") { $0.shards.map(\.slotsInUse).reduce(0, +) == 10 }
            let again = try await clients.attempt(
                "again",
                server.webSocket("u"),
                headers: ["X-Forwarded-For": "192.0.2.1"]
            )
            #expect(again.ev == "open")
        }
    }

    @Test func `handshakes of all workers together are held to the rate`() async throws {
        try await TestServer.with(environment: ["MARTLET_LIMITS_HANDSHAKES_PER_SECOND": "1"]) { server in
            let clients = try WebSocketClients()
            let answers = try await clients.attemptAll((0..<100).map { ("\($0)", server.webSocket("user-\($0)")) })
            let opened = answers.count { $0.ev == "open" }
            #expect((50...70).contains(opened), "\(opened): 50 at once, then one a second")
            let refused = answers.filter { $0.ev == "refused" }
            #expect(refused.allSatisfy { $0.status == 429 && $0.headers?["Retry-After"] == "1" })
        }
    }

    @Test func `slow, silent, flooding and giant clients end with their own codes, and no other client notices`()
        async throws
    {
        let environment = [
            "MARTLET_CLIENT_HEARTBEAT_INTERVAL": "1s", "MARTLET_CLIENT_HEARTBEAT_TIMEOUT": "1s",
            "MARTLET_CLIENT_QUEUE_BYTES": "65536", "MARTLET_LIMITS_MESSAGES_PER_SECOND": "10",
            "MARTLET_LIMITS_MESSAGE_BURST": "20",
        ]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            try await clients.open((0..<20).map { ("good-\($0)", server.webSocket("good-\($0)")) })
            let abusers = try ["silent", "flood", "giant"].map { mode in
                (mode, try Self.abuser(mode, server))
            }
            for (mode, abuser) in abusers {
                let expected = ["silent": "closed 4408", "flood": "closed 4429", "giant": "closed 1009"][mode] ?? ""
                try await abuser.lines.wait("\(expected) of \(mode)") { lines in
                    lines.contains { $0.text.hasPrefix(expected) }
                }
                let end =
                    await abuser.lines.events.last { $0.text.hasPrefix("closed") }?.text.split(separator: " ") ?? []
                // For a while the client is told about each message that is not handled; then it is closed.
                if mode == "flood" { #expect((Int(end[5]) ?? 0) >= 20 && end[3] == "20", "\(end)") }
            }
            let slow = try Self.abuser("slow", server)
            try await slow.lines.wait("the slow one") { !$0.isEmpty }
            let text = "\"" + String(repeating: "x", count: 60000) + "\""
            var failed = 0
            var rounds = 0
            while failed == 0, rounds < 500 {
                failed = try await server.publish(text, toUser: "slow").failed
                rounds += 1
            }
            #expect(failed == 1)
            slow.closeInput()
            #expect(
                try await server.request("POST", "/v1/broadcast", body: "1").decoded(TestServer.Receipt.self).matched
                    == 20
            )
            for number in 0..<20 { #expect(try await clients.messages("good-\(number)", count: 1) == ["1"]) }
            try await server.waitForStatistics("the good alone") { $0.shards.map(\.slotsInUse).reduce(0, +) == 20 }
            let metrics = try await server.request("GET", "/metrics").body
            for code in [4408, 4429, 1009, 4508] {
                #expect(metrics.contains("martlet_closes_total{code=\"\(code)\"} 1"), "\(code)")
            }
        }
    }

    private static func abuser(_ mode: String, _ server: TestServer) throws -> Subprocess {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Support/Clients/abusers.py").path
        return try Subprocess("/usr/bin/python3", [script, server.client, mode, mode])
    }

    @Test func `a peer that has silently vanished is found by the heartbeat, and health is shown`() async throws {
        let environment = ["MARTLET_CLIENT_HEARTBEAT_INTERVAL": "300ms", "MARTLET_CLIENT_HEARTBEAT_TIMEOUT": "500ms"]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            try await clients.open([("alive", server.webSocket("alive"))])
            let ghost = try Self.abuser("silent", server)
            try await ghost.lines.wait("the ghost") { !$0.isEmpty }
            // A stopped process sends nothing any more, not even a FIN.
            ghost.signal(SIGSTOP)
            try await server.waitForStatistics("the ghost gone") { $0.totalConnections == 1 }
            ghost.signal(SIGKILL)
            struct Connection: Decodable {
                let connectionId: String, lastSeenAt: String, roundTripMs: Double?, queueBytes: Int, queueMessages: Int
            }
            struct List: Decodable { let connections: [Connection] }
            let list = try await server.request("GET", "/v1/users/alive/connections").decoded(List.self)
            let connection = try #require(list.connections.first)
            #expect(connection.lastSeenAt.hasPrefix("20") && connection.queueBytes == 0)
            #expect((connection.roundTripMs ?? 0) > 0, "a ping was answered before the ghost was given up")
            let one = try await server.request("GET", "/v1/connections/\(connection.connectionId)")
            #expect(try one.decoded(Connection.self).connectionId == connection.connectionId)
        }
    }
}
