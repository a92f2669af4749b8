// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// A message reaches every connection of its user, byte for byte, and nobody else, whichever shard they live on.
@Suite(.serialized) struct MessagesReachTheirUserTests {
    private static let users = (0..<40).map { "user-\($0)" } + ["用户1", "مستخدم3", "a b/c?d"]

    @Test func `43 users with two connections each get exactly their messages`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open(
                Self.users.flatMap { user in [1, 2].map { ("\(user)#\($0)", server.webSocket(user)) } }
            )
            for user in Self.users {
                let body = " {\"for\" : \"\(user)\", \"n\":1.50, \"e\":\"\\u00e9 é 😀\"}\n"
                #expect(try await server.publish(body, toUser: user) == .init(matched: 2, delivered: 2))
            }
            let broadcast = try await server.request("POST", "/v1/broadcast?exclude_user=user-3", body: "[\"all\"]")
            #expect(try broadcast.decoded(TestServer.Receipt.self) == .init(matched: 84, delivered: 84))
            let everybody = try await server.request("POST", "/v1/broadcast", body: "\"end\"")
            #expect(try everybody.decoded(TestServer.Receipt.self) == .init(matched: 86, delivered: 86))
            for user in Self.users {
                let own = " {\"for\" : \"\(user)\", \"n\":1.50, \"e\":\"\\u00e9 é 😀\"}\n"
                let expected = user == "user-3" ? [own, "\"end\""] : [own, "[\"all\"]", "\"end\""]
                for number in [1, 2] {
                    let messages = try await clients.messages("\(user)#\(number)", count: expected.count)
                    #expect(messages == expected, "\(user)#\(number)")
                }
            }
            try await agreeOnStatistics(server, clients)
        }
    }

    private func agreeOnStatistics(_ server: TestServer, _ clients: WebSocketClients) async throws {
        let statistics = try await server.statistics(byUser: true)
        #expect(statistics.totalConnections == 86 && statistics.uniqueUsers == 43)
        #expect(statistics.connectionsByUser == Dictionary(uniqueKeysWithValues: Self.users.map { ($0, 2) }))
        #expect(statistics.shards.map(\.connections).reduce(0, +) == 86)
        #expect(statistics.shards.allSatisfy { $0.connections > 20 }, "both shards serve")
        #expect(statistics.messages.sent == 43 * 2 + 84 + 86)
        for user in Self.users.prefix(20) { clients.close("\(user)#1") }
        for user in Self.users.prefix(20) { #expect(try await clients.closeCode("\(user)#1") == 1000) }
        try await server.waitForStatistics("66 connections") { $0.totalConnections == 66 }
        let after = try await server.statistics(byUser: true)
        #expect(after.uniqueUsers == 43)
        #expect(after.connectionsByUser?.values.reduce(0, +) == 66)
        #expect(after.shards.map(\.slotsInUse).reduce(0, +) == 66)
    }

    @Test func `a connection can be addressed, described, and closed through any shard's API`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice", "&thread_id=t1")), ("b", server.webSocket("用户1"))])
            struct Connection: Decodable { let connectionId: String, userId: String, shard: Int, threadId: String? }
            struct List: Decodable { let connections: [Connection] }
            var shards: Set<Int> = []
            for (name, user) in [("a", "alice"), ("b", "用户1")] {
                let path = "/v1/users/\(TestServer.encoded(user))/connections"
                let found = try #require(try await server.request("GET", path).decoded(List.self).connections.first)
                #expect(found.userId == user)
                shards.insert(found.shard)
                // There are several API connections, so that both workers answer.
                for number in 0..<6 {
                    let path = "/v1/connections/\(found.connectionId)"
                    #expect(try await server.request("GET", path).decoded(Connection.self).userId == user)
                    let sent = try await server.request("POST", "\(path)/messages", body: "\(number)")
                    #expect(try sent.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1))
                }
                #expect(try await clients.messages(name, count: 6) == (0..<6).map { "\($0)" })
                let closed = try await server.request(
                    "DELETE",
                    "/v1/connections/\(found.connectionId)?code=4242&reason=bye"
                )
                #expect(closed.body == "{\"closed\":1}")
                #expect(try await clients.closeCode(name) == 4242)
            }
            #expect(shards == [0, 1])
            #expect(try await server.publish("1", toUser: "alice") == .init(matched: 0, delivered: 0))
        }
    }

    @Test func `messages to one user arrive in the order of their receipts, through both workers`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("x", server.webSocket("alice"))])
            for number in 0..<40 { _ = try await server.publish("\(number)", toUser: "alice") }
            #expect(try await clients.messages("x", count: 40) == (0..<40).map { "\($0)" })
        }
    }

    @Test func `a message of one mebibyte passes unchanged, whichever shard owns its user`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice")), ("b", server.webSocket("用户1"))])
            let body = "\"" + String(repeating: "用户😀x", count: 95000) + "\""
            let file = server.folder + "/body.json"
            try body.write(toFile: file, atomically: true, encoding: .utf8)
            for user in ["alice", "用户1"] {
                let path = "/v1/users/\(TestServer.encoded(user))/messages"
                let answer = try await server.request("POST", path, body: "@\(file)")
                #expect(try answer.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1))
            }
            #expect(try await clients.messages("a", count: 1) == [body])
            #expect(try await clients.messages("b", count: 1) == [body])
            for (count, status) in [(1_048_574, 200), (1_048_575, 413)] {
                try ("\"" + String(repeating: "x", count: count) + "\"").write(
                    toFile: file,
                    atomically: true,
                    encoding: .utf8
                )
                for path in ["/v1/users/alice/messages", "/v1/broadcast"] {
                    let answer = try await server.request("POST", path, body: "@\(file)")
                    #expect(answer.status == status)
                    if status == 413 { #expect(answer.code == "message_too_large") }
                }
            }
            #expect(try await server.statistics().totalConnections == 2, "a publisher's mistake closes nobody")
        }
    }
}
