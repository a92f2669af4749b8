import Foundation
import MartletCore
import Support
import Testing

/// A worker that dies takes nobody else with it, nobody is told a lie meanwhile, and its shard comes back.
@Suite(.serialized) struct ShardsFailAloneTests {
    @Test func `after kill -9 of a worker the other shard's clients notice nothing and the shard is back`() async throws
    {
        try await TestServer.with { server in
            let map = ShardMap(shardCount: 2)
            let users = (0..<20).map { "user-\($0)" }
            let victims = users.filter { map.shard(ofUser: $0) == 0 }
            let others = users.filter { map.shard(ofUser: $0) == 1 }
            let clients = try WebSocketClients()
            try await clients.open(users.map { ($0, server.webSocket($0)) })
            let before = try await server.statistics().shards
            let pid = try #require(before.first { $0.shard == 0 }?.pid)

            let publishing = Task { try await publish(to: users, on: server, map) }
            kill(pid, SIGKILL)
            for victim in victims { #expect(try await clients.closeCode(victim) == 1006) }
            try await server.waitForStatistics("shard 0 back with a new worker") { statistics in
                statistics.shards.allSatisfy { $0.state == "serving" } && statistics.shards[0].pid != pid
            }
            let delivered = try await publishing.value
            #expect(await clients.events.events.filter { $0.ev == "closed" }.allSatisfy { victims.contains($0.name) })
            for other in others {
                let messages = try await clients.messages(other, count: delivered[other] ?? 0)
                #expect(messages.count == delivered[other], "what was acknowledged arrived")
            }

            try await clients.open(victims.map { ("\($0) again", server.webSocket($0)) })
            for victim in victims {
                #expect(try await server.publish("\"back\"", toUser: victim) == .init(matched: 1, delivered: 1))
            }
            let after = try await server.statistics().shards
            #expect(after[0].restarts == 1 && after[0].generation == 2 && after[1].restarts == 0)
            #expect(after[1].pid == before[1].pid)
            let log = await server.log()
            #expect(log.contains { $0.contains("A worker has ended") && $0.contains("\"crash: signal 9\"") })
        }
    }

    /// Publishes while the worker dies: each answer must be a receipt that is true, or 503.
    private func publish(to users: [String], on server: TestServer, _ map: ShardMap) async throws -> [String: Int] {
        var delivered: [String: Int] = [:]
        for round in 0..<10 {
            for user in users {
                let answer = try await server.request("POST", "/v1/users/\(user)/messages", body: "\(round)")
                switch answer.status {
                case 200: delivered[user, default: 0] += try answer.decoded(TestServer.Receipt.self).delivered
                case 503:
                    #expect(answer.code == "shard_unavailable" && answer.headers.contains("Retry-After"))
                    #expect(map.shard(ofUser: user) == 0, "only the dead shard's users")
                case 0: break  // the worker that died had accepted this very request
                default: Issue.record("unexpected answer \(answer)")
                }
            }
        }
        return delivered
    }

    @Test func `while the supervisor hangs, what needs it is answered 503, and everything else goes on`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            server.process.signal(SIGSTOP)
            let answer = try await server.request("GET", "/v1/stats")
            clients.send("a", "{\"type\":\"ping\"}")
            #expect(try await clients.messages("a", count: 1).count == 1)
            server.process.signal(SIGCONT)
            #expect(answer.status == 503 && answer.code == "shard_unavailable")
            #expect(try await server.publish("1", toUser: "alice") == .init(matched: 1, delivered: 1))
        }
    }

    @Test func `while a shard is stopped its publishers are told so, and readiness says which`() async throws {
        let environment = [
            "MARTLET_SUPERVISION_LIVENESS_INTERVAL": "100ms", "MARTLET_SUPERVISION_LIVENESS_TIMEOUT": "1s",
        ]
        try await TestServer.with(environment: environment) { server in
            let pid = try #require(try await server.statistics().shards.first?.pid)
            kill(pid, SIGSTOP)
            // A worker that hangs is found by its silence, killed and replaced.
            try await server.process.lines.wait("kill of the hanging worker") { lines in
                lines.contains { $0.text.contains("Killing a worker") && $0.text.contains("stopped answering") }
            }
            try await server.process.lines.wait("the new worker") { lines in
                lines.contains { $0.text.contains("A worker serves") && $0.text.contains("generation=2") }
            }
            #expect(try await server.publish("1", toUser: "anybody") == .init(matched: 0, delivered: 0))
        }
    }

    @Test func `while a shard is down its threads are answered 503, and counters never go back`() async throws {
        let environment = [
            "MARTLET_SUPERVISION_RESTART_BACKOFF_MIN": "2s", "MARTLET_SUPERVISION_RESTART_BACKOFF_MAX": "2s",
        ]
        try await TestServer.with(environment: environment) { server in
            let map = ShardMap(shardCount: 2)
            let user = try #require((0..<20).map { "user-\($0)" }.first { map.shard(ofUser: $0) == 0 })
            let clients = try WebSocketClients()
            var sent = 0
            var wasRefused = false
            // The second start that fails at once is followed by a pause, in which the shard is down.
            for round in 0..<12 where !wasRefused {
                try await server.waitForStatistics("the shard back") { statistics in
                    #expect(statistics.messages.sent >= sent, "counters never go back")
                    sent = statistics.messages.sent
                    return statistics.shards[0].state == "serving"
                }
                try await clients.open([("c\(round)", server.webSocket(user, "&thread_id=t"))])
                let delivered = try await server.request("POST", "/v1/threads/t/messages", body: "\(round)")
                #expect(try delivered.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1))
                let pid = try await server.statistics().shards[0].pid
                kill(pid, SIGKILL)
                _ = try await clients.closeCode("c\(round)")
                let before = try await server.statistics()
                let answer = try await server.request("POST", "/v1/threads/t/messages", body: "0")
                let after = try await server.statistics()
                #expect(before.messages.sent > sent && after.messages.sent >= before.messages.sent)
                sent = after.messages.sent
                if before.shards[0].state == "down", after.shards[0].state == "down" {
                    #expect(answer.status == 503 && answer.code == "shard_unavailable")
                    wasRefused = true
                }
            }
            #expect(wasRefused)
        }
    }
}
