import Foundation
import Support
import Testing

/// No client buys more of a worker's time than its share: the others are served meanwhile, and the worker lives.
@Suite(.serialized) struct NobodyGoesHungryTests {
    private struct Report: Decodable {
        let codes: [String: Int]
        let answers: Int
        let pongs: Int
    }

    /// One worker, which is replaced when it does not say for a second that it lives.
    private func report(_ mode: String) async throws -> Report {
        let environment = [
            "MARTLET_SUPERVISION_LIVENESS_INTERVAL": "100ms", "MARTLET_SUPERVISION_LIVENESS_TIMEOUT": "1s",
            "MARTLET_LIMITS_MESSAGES_PER_SECOND": "20", "MARTLET_LIMITS_MESSAGE_BURST": "20",
        ]
        nonisolated(unsafe) var report: Report?
        try await TestServer.with(workers: 1, environment: environment) { server in
            let run = try await Subprocess.run(
                "/usr/bin/python3",
                [WebSocketClients.script("hunger.py"), server.client, mode]
            )
            let decoded: Report = try TestServer.decode(Report.self, from: run.output)
            print("\(mode): \(run.output)")
            let shards = try await server.statistics().shards
            #expect(shards.allSatisfy { $0.generation == 1 && $0.restarts == 0 }, "\(run.output)")
            report = decoded
        }
        return try #require(report)
    }

    @Test func `sixty-four connections that send what expands to a thousand times its size`() async throws {
        let report = try await report("bombs")
        // Who is served no faster than the rate is not over it, so a slow build closes nobody.
        #expect(Set(report.codes.keys).isSubset(of: ["4429"]) && report.pongs > 5, "\(report)")
    }

    @Test func `strangers who send requests without an end`() async throws {
        let report = try await report("requests")
        #expect(report.answers > 1000 && report.pongs > 10)
    }
}
