// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import Support
import Testing

/// A worker that dies takes no other worker with it, all answers in the meantime are true, and its shard comes back.
@Suite(.serialized) struct ShardsFailAloneTests {
    @Test func `while the supervisor hangs, requests that need it get 503, and everything else goes on`() async throws {
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

    @Test func `while a shard is stopped its publishers are told, and readiness names it`() async throws {
        let environment = [
            "MARTLET_SUPERVISION_LIVENESS_INTERVAL": "100ms", "MARTLET_SUPERVISION_LIVENESS_TIMEOUT": "1s",
        ]
        try await TestServer.with(environment: environment) { server in
            let pid = try #require(try await server.statistics().shards.first?.pid)
            kill(pid, SIGSTOP)
            // A worker that hangs is noticed by its silence, killed and replaced.
            try await server.process.lines.wait("kill of the hanging worker") { lines in
                lines.contains { $0.text.contains("Killing a worker") && $0.text.contains("stopped answering") }
            }
            try await server.process.lines.wait("the new worker") { lines in
                lines.contains { $0.text.contains("A worker serves") && $0.text.contains("generation=2") }
            }
            #expect(try await server.publish("1", toUser: "anybody") == .init(matched: 0, delivered: 0))
        }
    }
}
