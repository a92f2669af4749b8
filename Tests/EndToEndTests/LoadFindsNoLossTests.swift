// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Under load, each numbered message arrives once and in order, as the load generator sees it.
@Suite(.serialized) struct LoadFindsNoLossTests {
    @Test(arguments: [
        ["fanout", "-c", "200", "-m", "100", "-w", "8"], ["fanout", "-c", "100", "-m", "20", "-s", "70000"],
        ["unicast", "-c", "200", "-m", "5000", "-w", "64"], ["echo", "-c", "50", "-m", "40", "-s", "5000"],
    ])
    func `nothing is lost, duplicated or reordered`(arguments: [String]) async throws {
        try await TestServer.with { server in
            let run = try await Subprocess.run(
                TestServer.binaries + "/martlet-load",
                arguments + ["--client", server.client, "--api", server.api, "--json"]
            )
            // This throws, so that the server's log is printed.
            try #require(run.code == 0, "\(run.output) \(run.error)")
            #expect(run.output.contains("\"broken\":[]"))
            #expect(run.output.contains("server_cpu_per_"), "the server's processes were found")
        }
    }
}
