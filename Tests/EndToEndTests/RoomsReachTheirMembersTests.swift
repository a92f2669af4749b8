// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// A message to a thread or a job reaches all its members, in order, whichever shards they live on, and nobody else.
@Suite(.serialized) struct RoomsReachTheirMembersTests {
    private static let agentEvents = [
        "agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed",
    ]

    private func receipt(_ answer: TestServer.Answer) throws -> TestServer.Receipt { try answer.decoded() }

    @Test func `five agent events to a thread on both shards arrive in order, with exactly three keys`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            let users = (0..<10).map { "user-\($0)" }
            try await clients.open(users.map { ($0, server.webSocket($0, "&thread_id=t1")) })
            try await clients.open([("stranger", server.webSocket("stranger"))])
            #expect(try await server.statistics().shards.allSatisfy { $0.connections > 1 }, "both shards serve")
            #expect(try await server.statistics().threads == 1)
            for (number, type) in Self.agentEvents.enumerated() {
                let body = "{\"type\":\"\(type)\",\"data\":{\"step\":\(number)}}"
                let sent = try await server.request("POST", "/v1/threads/t1/events", body: body)
                #expect(try receipt(sent) == .init(matched: 10, delivered: 10))
            }
            for user in users {
                let events = try await clients.messages(user, count: 5).map { text in
                    try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
                }
                #expect(events.map { $0["type"] as? String } == Self.agentEvents)
                #expect(events.map { ($0["data"] as? [String: Int])?["step"] } == [0, 1, 2, 3, 4])
                #expect(events.allSatisfy { $0.keys.sorted() == ["data", "timestamp", "type"] })
            }
            #expect(await clients.messages("stranger").isEmpty)
        }
    }

    @Test func `users are bound and unbound through the API, connections join and leave`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice")), ("b", server.webSocket("用户1"))])
            func bind(_ method: String, _ user: String) async throws -> String {
                try await server.request(method, "/v1/threads/t/users/\(TestServer.encoded(user))").body
            }
            #expect(try await bind("PUT", "alice") == "{\"changed\":true}")
            #expect(try await bind("PUT", "alice") == "{\"changed\":false}")
            #expect(try await bind("PUT", "用户1") == "{\"changed\":true}")
            let both = try await server.request("POST", "/v1/threads/t/messages", body: "1")
            #expect(try receipt(both) == .init(matched: 2, delivered: 2))
            #expect(try await bind("DELETE", "alice") == "{\"changed\":true,\"removed\":0}")
            #expect(try await bind("DELETE", "alice") == "{\"changed\":false,\"removed\":0}")
            let one = try await server.request("POST", "/v1/threads/t/messages", body: "2")
            #expect(try receipt(one) == .init(matched: 1, delivered: 1))
            clients.send("a", "{\"type\":\"join_thread\",\"thread_id\":\"t\"}")
            #expect(
                try await clients.messages("a", count: 2).last == "{\"type\":\"thread_joined\",\"thread_id\":\"t\"}"
            )
            let again = try await server.request("POST", "/v1/threads/t/messages", body: "3")
            #expect(try receipt(again) == .init(matched: 2, delivered: 2))
            clients.send("a", "{\"type\":\"leave_thread\",\"thread_id\":\"t\"}")
            #expect(try await clients.messages("a", count: 4).last == "{\"type\":\"thread_left\",\"thread_id\":\"t\"}")
            let last = try await server.request("POST", "/v1/threads/t/messages", body: "4")
            #expect(try receipt(last) == .init(matched: 1, delivered: 1))
            #expect(try await clients.messages("b", count: 4) == ["1", "2", "3", "4"])
            clients.send("a", "{\"type\":\"leave_thread\",\"thread_id\":\"t\"}")
            #expect(try await clients.messages("a", count: 5).last?.contains("\"code\":\"not_in_thread\"") == true)
        }
    }

    @Test func `a client that was told that it joined misses nothing from then on`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            // These are users of both shards, each of which is the first member of its own room.
            for number in 0..<60 {
                let name = "c\(number)"
                if number % 2 == 0 {
                    try await clients.open([(name, server.webSocket("user-\(number)", "&thread_id=room-\(number)"))])
                } else {
                    try await clients.open([(name, server.webSocket("user-\(number)"))])
                    clients.send(name, "{\"type\":\"join_thread\",\"thread_id\":\"room-\(number)\"}")
                    _ = try await clients.messages(name, count: 1)
                }
                let sent = try await server.request("POST", "/v1/threads/room-\(number)/messages", body: "\(number)")
                #expect(try receipt(sent) == .init(matched: 1, delivered: 1), "room \(number)")
            }
            #expect(try await server.statistics().threads == 60)
            for number in 0..<60 { clients.close("c\(number)") }
            try await server.waitForStatistics("no thread left") { $0.threads == 0 && $0.totalConnections == 0 }
        }
    }

    @Test(arguments: [1, 2])
    func `a message to a thread without members reaches nobody, even a user of that name`(workers: Int) async throws {
        try await TestServer.with(workers: workers) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice")), ("b", server.webSocket("用户1"))])
            for user in ["alice", "用户1"] {
                let path = "/v1/threads/\(TestServer.encoded(user))/messages"
                let sent = try await server.request("POST", path, body: "1")
                #expect(try receipt(sent) == .init(matched: 0, delivered: 0))
                let keyed = try await server.request("POST", path, body: "1", ["-H", "Idempotency-Key: \(user.count)"])
                #expect(try receipt(keyed) == .init(matched: 0, delivered: 0))
            }
            let operators = try await server.control(["send", "--thread", "alice", "1"])
            #expect(operators.output.contains("\"matched\":0") || operators.output.contains("0"))
            #expect(try await server.publish("\"end\"", toUser: "alice").matched == 1)
            #expect(try await clients.messages("a", count: 1) == ["\"end\""])
        }
    }

    @Test(arguments: [1, 2])
    func `if it is configured, a thread without members is tried as a user`(workers: Int) async throws {
        let environment = ["MARTLET_ROOMS_THREAD_REACHES_USER": "true"]
        try await TestServer.with(workers: workers, environment: environment) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice")), ("b", server.webSocket("用户1"))])
            for user in ["alice", "用户1"] {
                let path = "/v1/threads/\(TestServer.encoded(user))/messages"
                let sent = try await server.request("POST", path, body: "1")
                #expect(try receipt(sent) == .init(matched: 1, delivered: 1))
            }
            let nobody = try await server.request("POST", "/v1/threads/nothing/messages", body: "1")
            #expect(try receipt(nobody) == .init(matched: 0, delivered: 0))
        }
    }

    @Test func `a job's watchers get its messages, and an unusable job id is replaced and reported`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            let users = (0..<6).map { "user-\($0)" }
            try await clients.open(users.map { ($0, server.webSocket($0, "&job_id=build-7")) })
            #expect(try await server.statistics().jobs == 1)
            let sent = try await server.request("POST", "/v1/jobs/build-7/messages", body: "\"done\"")
            #expect(try receipt(sent) == .init(matched: 6, delivered: 6))
            let none = try await server.request("POST", "/v1/jobs/user-1/messages", body: "1")
            #expect(try receipt(none) == .init(matched: 0, delivered: 0), "a job is not tried as a user")
            try await clients.open([("odd", server.webSocket("odd", "&job_id=%3CJob+object+at+0x7f01%3E"))])
            let greeting = try await clients.greeting("odd")
            let job = try #require(greeting.firstMatch(of: /"job_id":"(job_[0-9a-f]{8})"/)?.1)
            let found = try await server.request("POST", "/v1/jobs/\(job)/messages", body: "1")
            #expect(try receipt(found) == .init(matched: 1, delivered: 1))
            for user in users { #expect(try await clients.messages(user, count: 1) == ["\"done\""]) }
            try await clients.open([("less", server.webSocket("less", "&job_id=a%3Cb"))])
            #expect(try await clients.greeting("less").contains("\"job_id\":\"a<b\""))
        }
    }

    @Test func `a user that is taken out of a thread is out of it, however the user came in`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            // They come in by asking for it when they connect, by joining, by binding, and by joining and binding.
            for user in ["alice", "用户1"] {
                try await clients.open([
                    ("\(user) 1", server.webSocket(user, "&thread_id=t")), ("\(user) 2", server.webSocket(user)),
                    ("\(user) 3", server.webSocket(user)),
                ])
                clients.send("\(user) 2", "{\"type\":\"join_thread\",\"thread_id\":\"t\"}")
                _ = try await clients.messages("\(user) 2", count: 1)
                let path = "/v1/threads/t/users/\(TestServer.encoded(user))"
                #expect(try await server.request("PUT", path).body == "{\"changed\":true}")
                let all = try await server.request("POST", "/v1/threads/t/messages", body: "1")
                #expect(try receipt(all) == .init(matched: 3, delivered: 3))
                let out = try await server.request("DELETE", path).body
                #expect(out == "{\"changed\":true,\"removed\":2}")
                let none = try await server.request("POST", "/v1/threads/t/messages", body: "2")
                #expect(try receipt(none) == .init(matched: 0, delivered: 0))
                #expect(try await server.request("DELETE", path).body == "{\"changed\":false,\"removed\":0}")
                let left = "{\"type\":\"thread_left\",\"thread_id\":\"t\"}"
                #expect(try await clients.messages("\(user) 1", count: 2) == ["1", left])
                #expect(try await clients.messages("\(user) 2", count: 3).dropFirst() == ["1", left])
            }
            // This is also true for later workers.
            #expect(try await server.control(["restart", "--all"]).code == 0)
            let none = try await server.request("POST", "/v1/threads/t/messages", body: "3")
            #expect(try receipt(none) == .init(matched: 0, delivered: 0))
        }
    }

    @Test func `a client that was bound to a thread and wants to leave learns who can end the binding`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice")), ("b", server.webSocket("alice", "&thread_id=t"))])
            #expect(try await server.request("PUT", "/v1/threads/t/users/alice").status == 200)
            for name in ["a", "b"] {
                clients.send(name, "{\"type\":\"leave_thread\",\"thread_id\":\"t\"}")
                #expect(try await clients.messages(name, count: 1)[0].contains("\"code\":\"bound\""))
            }
            let sent = try await server.request("POST", "/v1/threads/t/messages", body: "1")
            #expect(try receipt(sent) == .init(matched: 2, delivered: 2), "as they were told")
            let out = try await server.request("DELETE", "/v1/threads/t/users/alice").body
            #expect(out == "{\"changed\":true,\"removed\":1}")
        }
    }
}
