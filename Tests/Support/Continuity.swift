// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Numbered traffic in both directions, over connections that stay while something happens to workers
/// (`continuity.py`).
public enum Continuity {
    public struct Report: Decodable, Sendable {
        /// How many workers were killed, or how many rounds of planned restarts there were.
        public let kills: Int
        public let dropped: Int
        public let retries: Int
        public let unicast: Int
        public let echo: Int
        public let problems: [String]
    }

    /// Runs the traffic, and returns what was seen.
    ///
    /// `every` is how many seconds there are, on average, between two events. `commands` are run with `martletctl`, one
    /// after another, in place of kills.
    public static func run(
        _ server: TestServer,
        connections: Int,
        seconds: Int,
        every: Double,
        commands: [String] = []
    ) async throws -> Report {
        let arguments = [
            WebSocketClients.script("continuity.py"), server.client, server.api, "\(connections)", "\(seconds)",
            "\(every)",
        ]
        let more = commands.isEmpty ? [] : [TestServer.binaries + "/martletctl", server.controlSocket] + commands
        let run = try await Subprocess.run(WebSocketClients.python, arguments + more)
        return try JSONDecoder().decode(Report.self, from: Data(run.output.utf8))
    }
}
