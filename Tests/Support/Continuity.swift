import Foundation

/// Numbered traffic both ways over connections that are held while something happens to the workers (`continuity.py`).
public enum Continuity {
    public struct Report: Decodable, Sendable {
        /// Workers that were killed, or rounds of planned restarts.
        public let kills: Int
        public let dropped: Int
        public let retries: Int
        public let unicast: Int
        public let echo: Int
        public let problems: [String]
    }

    /// Runs it, and reports what it saw.
    ///
    /// `every`: seconds, on average, between two events. `commands`: what `martletctl` is told,
    /// one after the other, in place of kills.
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
