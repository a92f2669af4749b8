// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// An attacker who takes control of a worker gets its connections, and nothing else of the machine.
@Suite struct WorkersAreConfinedTests {
    /// Checks the filter, which does not exist under ThreadSanitizer, because that needs its own programs and
    /// processes.
    @Test(.enabled(if: Sanitizer.present != .thread))
    func `a worker cannot start programs, make sockets or folders, or reach or harm other processes, and still serves`()
        async throws
    {
        let faults = Faults()
        try faults.plan("message escape 0 1 escape")
        try await TestServer.with(workers: 1, environment: ["MARTLET_FAULTS": faults.path]) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            clients.send("a", "{\"type\":\"escape\"}")
            #expect(try await clients.messages("a", count: 1).first?.contains("unsupported_type") == true)
            let tried = try await server.log(with: "martlet-worker is kept from", count: 16)
            #expect(tried.count == 16 && tried.allSatisfy { $0.contains("Operation not permitted") }, "\(tried)")
            #expect(await server.log().allSatisfy { !$0.contains("escapes") })
            // The listener was not harmed.
            try await clients.open([("b", server.webSocket("bob"))])
            let shard = try #require(try await server.statistics().shards.first)
            let status = try String(contentsOfFile: "/proc/\(shard.pid)/status", encoding: .utf8)
            #expect(status.contains("Seccomp:\t2\n") && status.contains("NoNewPrivs:\t1\n"))
        }
        faults.remove()
    }

    /// Runs the service as another user, which only root can do.
    @Test(.enabled(if: geteuid() == 0))
    func `a process of the same user cannot get at a shard's memory and sockets by its keeper`() async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/martlet-programs-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for program in ["martletd", "martlet-worker"] {
            try FileManager.default.copyItem(
                atPath: TestServer.binaries + "/" + program,
                toPath: folder + "/" + program
            )
        }
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
        let server = try Subprocess(
            "/usr/bin/setpriv",
            nobody + [
                folder + "/martletd", "--dev", "--workers", "1", "--client-listen", "127.0.0.1:0", "--api-listen",
                "127.0.0.1:0", "--control-socket", "none",
            ],
            environment: ["MARTLET_LOG_FORMAT": "text"]
        )
        try await server.lines.wait("service", seconds: 60) { $0.contains { $0.text.contains(" serves api=") } }
        let children = try String(contentsOfFile: "/proc/\(server.pid)/task/\(server.pid)/children", encoding: .utf8)
        var seen: [String: String] = [:]
        for pid in children.split(separator: " ") {
            let name = try String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)
            // Descriptor 5 is the arena in a worker.
            let run = try await Subprocess.run(
                "/usr/bin/setpriv",
                nobody + [
                    "/bin/sh", "-c", "for what in fd/5 mem environ; do head -c1 /proc/\(pid)/$what && echo got; done",
                ]
            )
            seen[name] = run.output.replacing("\0", with: "")
        }
        #expect(seen["martlet-keeper\n"] == "", "\(seen)")
        // In development the worker does not hide its memory, so the test would find a way through the worker.
        #expect(seen["martlet-worker\n"]?.contains("got") == true, "\(seen)")
        server.signal(SIGTERM)
        #expect(try await server.waitForEnd() == 0)
    }
}
