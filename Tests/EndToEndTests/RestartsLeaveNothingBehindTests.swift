// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// A service that has run for years needs no more than on its first day.
@Suite(.serialized) struct RestartsLeaveNothingBehindTests {
    /// The resources that a process holds.
    private struct Holdings {
        let descriptors: Int
        let children: Int
        let residentKilobytes: Int
        let mappings: Int

        init(_ pid: Int32) throws {
            descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
            children = try Self.text("/proc/\(pid)/task/\(pid)/children").split(separator: " ").count
            mappings = try Self.text("/proc/\(pid)/maps").split(separator: "\n").count
            let resident = try Self.text("/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix("VmRSS") }
            residentKilobytes = Int(resident?.split(whereSeparator: { !$0.isNumber }).first ?? "") ?? 0
        }

        private static func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }
    }

    @Test func `after two hundred restarts the supervisor holds no more than before`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            let users = (0..<30).map { "user-\($0)" }
            try await clients.open(users.map { ($0, server.webSocket($0)) })
            try await restart(server, 20)
            let before = try await settled(server)
            try await restart(server, 200)
            let after = try await settled(server)
            #expect(after.descriptors == before.descriptors && after.children == before.children)
            // AddressSanitizer keeps what was freed.
            let isLittle = after.residentKilobytes < before.residentKilobytes + 1024
            #expect(isLittle || Sanitizer.present == .address, "\(before) \(after)")
            #expect(after.mappings <= before.mappings + 4, "\(before) \(after)")
            for user in users {
                #expect(try await server.publish("1", toUser: user) == .init(matched: 1, delivered: 1))
            }
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    private func restart(_ server: TestServer, _ count: Int) async throws {
        let url = "http://x/v1/shards/{0,1}/restart#[1-\(count / 2)]"
        let run = try await Subprocess.run(
            "/usr/bin/curl",
            ["-s", "--unix-socket", server.controlSocket, "-X", "POST", url]
        )
        let answers = run.output.components(separatedBy: "{\"restarted\":true}").count - 1
        try #require(answers == count, "\(run.output.prefix(300))")
    }

    /// Returns what the supervisor holds once the last retired worker and its keeper have ended.
    private func settled(_ server: TestServer) async throws -> Holdings {
        let deadline = Date().addingTimeInterval(20)
        var last = try Holdings(server.process.pid)
        while Date() < deadline {
            for _ in 0..<3 { _ = try await server.statistics() }
            let now = try Holdings(server.process.pid)
            // There are two workers, each with a keeper, and no earlier process is still ending.
            if now.children == 4, now.descriptors == last.descriptors { return now }
            last = now
        }
        return last
    }
}
