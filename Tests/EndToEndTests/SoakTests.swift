// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// A short form of `make soak`, which takes some 35 seconds instead of two hours.
@Suite struct SoakTests {
    @Test
    func `under twice the load that fits, and all that happens to a service, nothing grows and answers are true`()
        async throws
    {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Soak/run").path
        let run = try await Subprocess.run(
            "/usr/bin/env",
            [
                "BIN=\(TestServer.binaries)", WebSocketClients.python, script, "--seconds", "300", "--cycles",
                "8", "--cycle", "3", "--capacity", "300", "--stable", "40",
                // Sanitizers keep what was freed.
                "--memory", Sanitizer.present == nil ? "yes" : "no",
            ]
        )
        struct Report: Decodable {
            let cycles: Int, messages: Int, answers: [String: Int], problems: [String]
        }
        let report = try TestServer.decode(Report.self, from: run.output)
        #expect(run.code == 0 && report.problems.isEmpty, "\(report.problems)\n\(run.error)")
        #expect(report.cycles == 8 && report.messages > 100)
        // More clients came than fit, and they were told.
        #expect(report.answers["101"] ?? 0 > 300 && report.answers["503"] ?? 0 > 300, "\(report.answers)")
    }
}
