// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// The number of workers changes, and so do the programs, while all clients stay connected.
@Suite(.serialized) struct ScalingIsNotNoticedTests {
    @Test func `more and fewer workers, and new programs, drop, lose, duplicate and reorder nothing`() async throws {
        try await TestServer.with { server in
            let run = try await Subprocess.run(
                TestServer.binaries + "/martlet-load",
                [
                    "continuity", "-c", "500", "--commands", "scale 4,upgrade,scale 1,reload,scale 2,restart --all",
                    "--pause", "0.2", "--client", server.client, "--api", server.api, "--control-socket",
                    server.controlSocket, "--json",
                ]
            )
            try #require(run.code == 0, "\(run.output) \(run.error)")
            #expect(run.output.contains("\"broken\":[]") && run.output.contains("\"events\":6"))
            let shards = try await server.statistics().shards
            #expect(shards.count == 2 && shards.allSatisfy { $0.lastRestart?.connectionsLost == 0 })
        }
    }

    @Test func `users move with their rooms, their bindings and the answers that are remembered for them`() async throws
    {
        try await TestServer.with(workers: 1) { server in
            let clients = try WebSocketClients()
            let users = (0..<20).map { "user-\($0)" }
            try await clients.open(users.map { ($0, server.webSocket($0, "&thread_id=t")) })
            let key = ["-H", "Idempotency-Key: once"]
            let first = try await server.request("POST", "/v1/users/user-3/messages", body: "1", key)
            #expect(first.status == 200)
            for count in [3, 2] {
                let scaled = try await server.control(["scale", "\(count)"])
                #expect(scaled.code == 0, "\(scaled.error)")
                let thread = try await server.request("POST", "/v1/threads/t/messages", body: "\(count)")
                #expect(try thread.decoded(TestServer.Receipt.self) == .init(matched: 20, delivered: 20))
                let again = try await server.request("POST", "/v1/users/user-3/messages", body: "1", key)
                #expect(again.body == first.body)
            }
            #expect(try await clients.messages("user-3", count: 3) == ["1", "3", "2"])
            #expect(try await clients.messages("user-4", count: 2) == ["3", "2"])
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test func `an impossible number is refused, and nothing changes`() async throws {
        try await TestServer.with { server in
            let codes = [
                try await server.control(["scale", "0"]).code, try await server.control(["scale", "129"]).code,
            ]
            #expect(codes == [2, 2])
            let shards = try await server.statistics().shards
            #expect(shards.count == 2)
        }
    }

    @Test func `an upgrade keeps the supervisor's process`() async throws {
        try await TestServer.with { server in
            let before = try await server.statistics().shards.map(\.pid)
            let upgrade = try await server.control(["upgrade"])
            #expect(upgrade.code == 0, "\(upgrade.error)")
            #expect(kill(server.process.pid, 0) == 0)
            let after = try await server.statistics().shards.map(\.pid)
            #expect(Set(before).isDisjoint(with: after))
        }
    }
}
