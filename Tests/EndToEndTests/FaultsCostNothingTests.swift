// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Whatever step a worker fails at, and however it fails, no client is cut off, nothing is lost, and the next attempt
/// works.
@Suite(.serialized) struct FaultsCostNothingTests {
    private static let heirSteps = ["born", "ready", "collect", "collected", "commit", "recovered"]
    private static let donorSteps = ["freeze", "frozen", "retire"]
    private static let actions = ["exit", "kill", "trap", "stop", "hang"]

    @Test(arguments: actions) func `an heir that fails at any step of a restart`(_ action: String) async throws {
        try await withFaults { server, clients, faults in
            for step in Self.heirSteps {
                let generation = try await server.statistics().shards[0].generation
                try faults.plan("\(step) \(action) \(generation + 1)")
                let failed = try await server.control(["restart", "--shard", "0"])
                // Before the commit the old worker goes on; after the commit the heir's own heir serves.
                let isCommitted = step == "commit" || step == "recovered"
                #expect((failed.code == 0) == isCommitted, "\(step) \(action): \(failed.output)\(failed.error)")
                try await clients.expectOneMore(server, "\(step) \(action)")
                try faults.plan("")
                let now = try await server.statistics().shards[0].generation
                #expect(now == generation + (isCommitted ? 2 : 0), "\(step) \(action)")
                let next = try await server.control(["restart", "--shard", "0"])
                #expect(next.code == 0, "\(step) \(action): \(next.error)")
                try await clients.expectOneMore(server, "after \(step) \(action)")
            }
            try await clients.expectAllOpen()
        }
    }

    @Test(arguments: actions) func `an old worker that fails at any step of a restart`(_ action: String) async throws {
        try await withFaults { server, clients, faults in
            for step in Self.donorSteps {
                let generation = try await server.statistics().shards[0].generation
                try faults.plan("\(step) \(action) \(generation + 1)")
                let first = try await server.control(["restart", "--shard", "0"])
                #expect(first.code == 0, "\(first.error)")
                try faults.plan("")
                // The replacement may fail because the old worker fails.
                _ = try await server.control(["restart", "--shard", "0"])
                try await clients.expectOneMore(server, "\(step) \(action)")
                try await server.waitForStatistics("a shard that serves") { $0.shards[0].state == "serving" }
                let next = try await server.control(["restart", "--shard", "0"])
                #expect(next.code == 0, "\(step) \(action): \(next.error)")
                try await clients.expectOneMore(server, "after \(step) \(action)")
            }
            try await clients.expectAllOpen()
        }
    }

    @Test func `an heir that may not open enough files takes nothing over, and says so`() async throws {
        try await withFaults { server, clients, faults in
            let generation = try await server.statistics().shards[0].generation
            try faults.plan("collect full \(generation + 1)")
            let failed = try await server.control(["restart", "--shard", "0"])
            #expect(failed.code == 1 && failed.error.contains("descriptor"), "\(failed.error)")
            try await clients.expectOneMore(server, "the old worker goes on")
            // The same after the death of a worker: its keeper holds the sockets until a worker can hold them all.
            kill(try await server.statistics().shards[0].pid, SIGKILL)
            try await clients.expectOneMore(server, "the second heir takes over")
            try await clients.expectAllOpen()
            let refusals = try await server.log(with: "cannot take over")
            #expect(refusals.contains { $0.contains("descriptor") })
        }
    }

    @Test func `an old worker that stays though its shard is another's is ended`() async throws {
        let faults = Faults()
        try faults.plan("retired stays 1")
        let environment = ["MARTLET_FAULTS": faults.path, "MARTLET_SUPERVISION_HANDOVER_TIMEOUT": "2s"]
        try await TestServer.with(workers: 1, environment: environment) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            #expect(try await server.control(["restart", "--shard", "0"]).code == 0)
            let line = try await server.log(with: "Killing a worker")[0]
            #expect(line.contains("it stays though it has lost its shard") && line.contains("generation=1"), "\(line)")
            #expect(try await server.publish("1", toUser: "alice") == .init(matched: 1, delivered: 1))
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
            // The next upgrade does not have to wait.
            #expect(try await server.control(["upgrade"]).code == 0)
        }
        faults.remove()
    }

    @Test func `heirs that fail until the next one has to wait cost nothing either`() async throws {
        try await withFaults { server, clients, faults in
            let generation = try await server.statistics().shards[0].generation
            // When the sixth begins, the shard does not count as recovering any more.
            try faults.plan((1...5).map { "born exit \(generation + $0)" }.joined(separator: "\n"))
            kill(try await server.statistics().shards[0].pid, SIGKILL)
            try await server.waitForStatistics("the sixth heir") { statistics in
                statistics.shards[0].state == "serving" && statistics.shards[0].generation == generation + 6
            }
            try faults.plan("")
            try await clients.expectOneMore(server, "after five heirs")
            let next = try await server.control(["restart", "--all"])
            #expect(next.code == 0, "\(next.error)")
            try await clients.expectOneMore(server, "and a restart")
            try await clients.expectAllOpen()
        }
    }

    @Test(arguments: actions) func `a worker that fails at any step of a change of the number of workers`(
        _ action: String
    ) async throws {
        try await withFaults { server, clients, faults in
            var count = 2
            for step in Self.heirSteps {
                let generation = try await server.statistics().shards.map(\.generation).max() ?? 0
                try faults.plan("\(step) \(action) \(generation + 1)")
                _ = try await server.control(["scale", "\(count + 1)"])
                try await clients.expectOneMore(server, "\(step) \(action)")
                try faults.plan("")
                try await server.waitForStatistics("shards that serve") { statistics in
                    statistics.shards.allSatisfy { $0.state == "serving" }
                }
                count = try await server.statistics().shards.count == 1 ? 2 : 1
                let next = try await server.control(["scale", "\(count)"])
                #expect(next.code == 0, "\(step) \(action): \(next.error)")
                try await clients.expectOneMore(server, "after \(step) \(action)")
            }
            try await clients.expectAllOpen()
        }
    }

    // MARK: What all tests need

    private func withFaults(_ body: (TestServer, ManyClients, Faults) async throws -> Void) async throws {
        let faults = Faults()
        let environment = [
            "MARTLET_FAULTS": faults.path, "MARTLET_SUPERVISION_HANDOVER_TIMEOUT": "1s",
            "MARTLET_SUPERVISION_LIVENESS_INTERVAL": "100ms",
            "MARTLET_SUPERVISION_LIVENESS_TIMEOUT": "1s",
        ]
        try faults.plan("")
        try await TestServer.with(environment: environment) { server in
            let clients = try await ManyClients(server)
            try await body(server, clients, faults)
        }
        faults.remove()
    }
}

/// The file of faults that workers of debug builds read when they start.
final class Faults: Sendable {
    let path = FileManager.default.temporaryDirectory.path + "/martlet-faults-\(UUID().uuidString.prefix(8))"

    func plan(_ lines: String) throws { try lines.write(toFile: path, atomically: true, encoding: .utf8) }
    func remove() { try? FileManager.default.removeItem(atPath: path) }
}

/// Clients of several users that count what they get.
final class ManyClients {
    private let users = (0..<48).map { "user-\($0)" }
    private let clients: WebSocketClients
    private var sent: [String] = []

    init(_ server: TestServer) async throws {
        clients = try WebSocketClients()
        try await clients.open(users.map { ($0, server.webSocket($0, "&thread_id=t")) })
    }

    /// Sends one more message to each user, and then one to all of them by their thread.
    func expectOneMore(_ server: TestServer, _ what: Comment) async throws {
        let number = sent.count + 1
        for user in users {
            let receipt = try await server.publish("\(number)", toUser: user)
            #expect(receipt == .init(matched: 1, delivered: 1), what)
        }
        let answer = try await server.request("POST", "/v1/threads/t/messages", body: "\"t\(number)\"")
        #expect(try answer.decoded(TestServer.Receipt.self) == .init(matched: 48, delivered: 48), what)
        sent += ["\(number)", "\"t\(number)\""]
        for user in users { #expect(try await clients.messages(user, count: sent.count) == sent, what) }
    }

    func expectAllOpen() async throws {
        #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
    }
}
