// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// The notifications that a service manager gets in the life of a service (sd_notify(3)), one by one.
@Suite struct ServiceManagerIsToldTests {
    @Test func `a service says when it serves, how it is, that it is alive, that it reloads, and that it stops`()
        async throws
    {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-notify-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let log = EventLog<[String]>()
        let manager = try Subprocess("/usr/bin/python3", [WebSocketClients.script("notify_socket.py"), path]) { line in
            if let lines = try? JSONDecoder().decode([String].self, from: Data(line.utf8)) { await log.append(lines) }
        }
        try await log.wait("socket") { $0.contains(["listening"]) }
        let variables = [
            "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "300000", "MARTLET_SUPERVISION_LIVENESS_INTERVAL": "100ms",
            "MARTLET_SUPERVISION_LIVENESS_TIMEOUT": "1s",
        ]
        try await TestServer.with(environment: variables) { server in
            try await log.wait("READY=1") { $0.contains(["READY=1"]) }
            let before = await log.events.prefix { $0 != ["READY=1"] }
            // The start says that it makes progress; it is ready when all shards serve.
            #expect(before.contains { $0.contains { $0.hasPrefix("EXTEND_TIMEOUT_USEC=") } })
            try await log.wait("status") { messages in
                messages.contains { $0.contains("STATUS=2 shards serve 0 connections, 0 messages/s") }
            }
            try await log.wait("watchdog") { messages in messages.count { $0.contains("WATCHDOG=1") } >= 5 }

            let count = await log.events.count
            #expect(try await server.control(["reload"]).code == 0)
            try await log.wait("end of the reload") { $0.dropFirst(count).contains(["READY=1"]) }
            let reload = await log.events.dropFirst(count)
            let began = try #require(reload.firstIndex { $0.first == "RELOADING=1" })
            #expect(reload[began].contains { $0.hasPrefix("MONOTONIC_USEC=") })
            #expect(reload.firstIndex(of: ["READY=1"]) ?? 0 > began)

            let pid = try #require(try await server.statistics().shards.first?.pid)
            kill(pid, SIGSTOP)
            try await log.wait("status that names the shard") { messages in
                messages.contains { $0.contains { $0.hasPrefix("STATUS=1 of 2 shards serve; shard") } }
            }
            try await server.waitForStatistics("the shard back") { $0.shards.allSatisfy { $0.state == "serving" } }
        }
        try await log.wait("STOPPING=1") { $0.contains { $0.first == "STOPPING=1" } }
        manager.signal(SIGTERM)
        _ = try await manager.waitForEnd()
    }
}
