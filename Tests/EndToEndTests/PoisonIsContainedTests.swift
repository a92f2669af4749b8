// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// A message that ends its worker ends its own connection, and no others.
@Suite(.serialized) struct PoisonIsContainedTests {
    private static let quick = [
        "MARTLET_SUPERVISION_LIVENESS_INTERVAL": "100ms", "MARTLET_SUPERVISION_LIVENESS_TIMEOUT": "1s",
    ]

    private func with(_ fault: String, _ body: (TestServer, WebSocketClients) async throws -> Void) async throws {
        let faults = Faults()
        try faults.plan(fault)
        let environment = Self.quick.merging(["MARTLET_FAULTS": faults.path]) { $1 }
        try await TestServer.with(workers: 1, environment: environment) { server in
            let clients = try WebSocketClients()
            try await clients.open(["good", "bad"].map { ($0, server.webSocket($0)) })
            try await body(server, clients)
        }
        faults.remove()
    }

    @Test func `a message that traps its worker does so twice, then its connection is closed with 1011`() async throws {
        try await with("message trap 0 1 poison") { server, clients in
            clients.send("bad", "{\"type\":\"poison\"}")
            #expect(try await clients.closeCode("bad") == 1011)
            let shard = try #require(try await server.statistics().shards.first)
            #expect(shard.restarts == 2 && shard.lastRestart?.connectionsLost == 0)
            #expect(try await server.publish("1", toUser: "good") == .init(matched: 1, delivered: 1))
            #expect(try await clients.messages("good", count: 1) == ["1"])
            clients.send("good", "{\"type\":\"ping\"}")
            #expect(try await clients.messages("good", count: 2).count == 2)
            let metrics = try await server.request("GET", "/metrics").body
            #expect(metrics.contains("martlet_connections_poisoned_total{shard=\"0\"} 1"))
            // The log says where it happened.
            try await server.log(with: "the stack follows")
            try await server.log(with: "martlet-worker(")
        }
    }

    @Test func `a message that makes its worker hang is contained as well, and the log says where it hung`()
        async throws
    {
        try await with("message hang 0 1 poison") { server, clients in
            clients.send("bad", "{\"type\":\"poison\"}")
            #expect(try await clients.closeCode("bad") == 1011)
            let shard = try #require(try await server.statistics().shards.first)
            #expect(shard.restarts == 2 && shard.lastRestart?.connectionsLost == 0)
            #expect(try await server.publish("1", toUser: "good") == .init(matched: 1, delivered: 1))
            try await server.log(with: "martlet-worker of shard 0: signal 6; the stack follows")
        }
    }

    @Test func `a ping between the fragments of such a message does not hide it`() async throws {
        try await with("message trap 0 1 poison") { server, clients in
            clients.send("bad", fragments: ["{\"type\":", "\"poison\"}"], pinging: true)
            #expect(try await clients.closeCode("bad") == 1011)
            let shard = try #require(try await server.statistics().shards.first)
            #expect(shard.restarts == 2)
        }
    }

    @Test func `a publish that ends its worker twice is refused, and its clients stay`() async throws {
        let faults = Faults()
        try await TestServer.with(environment: ["MARTLET_FAULTS": faults.path]) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            try faults.plan("delivery trap 0 1")
            // Workers read the plan when they start.
            #expect(try await server.control(["restart", "--all"]).code == 0)
            let sent = try await server.control(["send", "--user", "alice", "1"])
            #expect(sent.code == 1 && sent.error.contains("ended twice"), "\(sent)")
            try faults.plan("")
            #expect(try await server.control(["restart", "--all"]).code == 0)
            #expect(try await server.publish("2", toUser: "alice") == .init(matched: 1, delivered: 1))
            #expect(try await clients.messages("a", count: 1) == ["2"])
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
        faults.remove()
    }

    @Test func `a message that comes while its worker is killed once is handled once`() async throws {
        try await with("message kill 1 1 join") { server, clients in
            clients.send("bad", "{\"type\":\"join_thread\",\"thread_id\":\"t\"}")
            #expect(try await clients.messages("bad", count: 1).count == 1)
            let answer = try await server.request("POST", "/v1/threads/t/messages", body: "1")
            #expect(try answer.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1))
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test(arguments: ["received", "sent"])
    func `bytes that moved before their worker could record it are found in the kernel's counts`(
        _ point: String
    ) async throws {
        // Each worker dies at its sixth such call; requests are nevertheless answered once and in order.
        try await with("\(point) kill 0 6") { server, clients in
            for number in 1...30 {
                clients.send("bad", "{\"type\":\"join_thread\",\"thread_id\":\"t\(number)\"}")
                // HTTP connections die with their worker: the test asks again, with the same key.
                var answer: TestServer.Answer
                repeat {
                    let key = ["-H", "Idempotency-Key: \(number)"]
                    answer = try await server.request("POST", "/v1/users/good/messages", body: "\(number)", key)
                } while answer.status == 0
                #expect(try answer.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1))
            }
            #expect(try await clients.messages("good", count: 30) == (1...30).map { "\($0)" })
            let answers = try await clients.messages("bad", count: 30)
            #expect(answers.enumerated().allSatisfy { $1.contains("\"t\($0 + 1)\"") }, "\(answers)")
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
            let shard = try #require(try await server.statistics().shards.first)
            #expect(shard.restarts >= 3 && (shard.lastRestart?.positionsUnrecorded ?? 0) >= 1)
        }
    }
}
