// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// An upgrade to broken programs is given up with a reason, the old ones continue to serve, and the next good ones
/// work.
@Suite(.serialized) struct BrokenProgramsAreRefusedTests {
    private struct Breakage: Sendable, CustomTestStringConvertible {
        let program: String
        /// The shell script that takes its place; nil: the program is missing.
        let script: String?
        /// What the answer must say.
        let said: String
        var testDescription: String { "\(program): \(script ?? "missing")" }
    }

    private static let breakages = [
        Breakage(program: "martletd", script: nil, said: "No such file"),
        Breakage(program: "martletd", script: "exit 3", said: "exit 3"),
        Breakage(program: "martletd", script: "kill -SEGV $$", said: "signal 11"),
        Breakage(program: "martletd", script: "exec sleep 60", said: "did not say in time"),
        Breakage(program: "martlet-worker", script: nil, said: "No such file"),
        Breakage(program: "martlet-worker", script: "exit 3", said: "says nothing"),
        Breakage(program: "martlet-worker", script: "exec sleep 60", said: "did not say in time"),
        Breakage(program: "martlet-worker", script: "echo martlet-worker 9.9 >&3", said: "does not belong"),
    ]

    @Test func `programs that are missing, exit, die, hang or belong to another version are refused with a reason`()
        async throws
    {
        try await withPrograms { server, clients, programs, _ in
            for breakage in Self.breakages {
                let generations = try await server.statistics().shards.map(\.generation)
                try programs.replace(breakage.program, by: breakage.script)
                let refused = try await server.control(["upgrade"])
                #expect(refused.code == 1 && refused.error.contains(breakage.said), "\(breakage): \(refused.error)")
                try await clients.expectOneMore(server, "\(breakage)")
                // A worker that ends is replaced by one of the running programs, and not of those that are installed
                // now.
                let worker = try await server.statistics().shards[0]
                kill(worker.pid, SIGKILL)
                try await server.waitForStatistics("the shard back") {
                    $0.shards[0].state == "serving" && $0.shards[0].generation > worker.generation
                }
                try await clients.expectOneMore(server, "\(breakage): after a crash")
                #expect(try await server.statistics().shards.map(\.generation) == [generations[0] + 1, generations[1]])
                try programs.restore(breakage.program)
            }
            let good = try await server.control(["upgrade"])
            #expect(good.code == 0, "\(good.error)")
            try await clients.expectOneMore(server, "after a good upgrade")
            try await clients.expectAllOpen()
        }
    }

    @Test(arguments: ["born exit", "born hang", "ready exit", "ready kill", "ready stop", "collected exit"])
    func `new workers that die or hang before they serve leave the old ones serving`(_ fault: String) async throws {
        try await withPrograms { server, clients, _, faults in
            try faults.plan(fault)
            let failed = try await server.control(["upgrade"])
            #expect(failed.code == 1 && failed.error.contains("shard 0"), "\(failed.error)")
            try await clients.expectOneMore(server, "\(fault)")
            try faults.plan("")
            let good = try await server.control(["upgrade"])
            #expect(good.code == 0, "\(good.error)")
            try await clients.expectOneMore(server, "after a good upgrade")
            try await clients.expectAllOpen()
        }
    }

    @Test func `workers that die while the upgrade is under way cost nothing`() async throws {
        try await withPrograms { server, clients, _, _ in
            for round in 0..<6 {
                async let upgrade = server.control(["upgrade"])
                // Each round is at another moment of the check, of the change of programs, and of the replacements.
                for _ in 0..<round { _ = try await server.control(["status"]) }
                for shard in (try? await server.statistics().shards) ?? [] where shard.pid > 0 {
                    kill(shard.pid, SIGKILL)
                }
                let (code, _, error) = try await upgrade
                try await server.waitForStatistics("all shards serving") { statistics in
                    statistics.shards.allSatisfy { $0.state == "serving" }
                }
                #expect(code == 0 || !error.isEmpty)
                try await clients.expectOneMore(server, "round \(round): \(error)")
            }
            let good = try await server.control(["upgrade"])
            #expect(good.code == 0, "\(good.error)")
            try await clients.expectAllOpen()
        }
    }

    private func withPrograms(
        _ body: (TestServer, ManyClients, Programs, Faults) async throws -> Void
    ) async throws {
        let faults = Faults()
        try faults.plan("")
        defer { faults.remove() }
        let programs = try Programs()
        defer { programs.remove() }
        let environment = ["MARTLET_FAULTS": faults.path, "MARTLET_SUPERVISION_HANDOVER_TIMEOUT": "3s"]
        try await TestServer.with(programs: programs.folder, environment: environment) { server in
            try await body(server, ManyClients(server), programs, faults)
        }
    }
}

/// The programs under test in their own folder, where they can be replaced in the way that a package does it.
final class Programs: Sendable {
    let folder: String

    init() throws {
        folder = FileManager.default.temporaryDirectory.path + "/martlet-programs-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for name in ["martletd", "martlet-worker"] { try restore(name) }
    }

    func restore(_ name: String) throws {
        try put(name) { try FileManager.default.copyItem(atPath: TestServer.binaries + "/" + name, toPath: $0) }
    }

    /// Puts a shell script in the place of a program, or removes the program.
    func replace(_ name: String, by script: String?) throws {
        guard let script else { return try FileManager.default.removeItem(atPath: folder + "/" + name) }
        try put(name) { path in
            try "#!/bin/sh\n\(script)\n".write(toFile: path, atomically: false, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        }
    }

    private func put(_ name: String, _ make: (_ path: String) throws -> Void) throws {
        let next = folder + "/" + name + ".next"
        try make(next)
        guard rename(next, folder + "/" + name) == 0 else { throw CocoaError(.fileWriteUnknown) }
    }

    func remove() { try? FileManager.default.removeItem(atPath: folder) }
}
