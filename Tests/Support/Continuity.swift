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
    /// `every`: seconds, on average, between two events. `more`: `martletctl` and the control socket, for planned restarts in
    /// place of kills.
    public static func run(
        _ server: TestServer,
        connections: Int,
        seconds: Int,
        every: Double,
        more: [String] = []
    ) async throws -> Report {
        let arguments = [
            WebSocketClients.script("continuity.py"), server.client, server.api, "\(connections)", "\(seconds)",
            "\(every)",
        ]
        let run = try await Subprocess.run(WebSocketClients.python, arguments + more)
        return try JSONDecoder().decode(Report.self, from: Data(run.output.utf8))
    }
}
