// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// No client gets more than its share of a worker's time: the others are still served, and the worker lives.
@Suite(.serialized) struct NobodyGoesHungryTests {
    private struct Report: Decodable {
        let codes: [String: Int]
        let answers: Int
        let pongs: Int
    }

    /// Runs clients against one worker, which is replaced when it does not say `alive` for a second.
    private func report(_ mode: String, _ more: [String: String] = [:]) async throws -> Report {
        let environment = [
            "MARTLET_SUPERVISION_LIVENESS_INTERVAL": "100ms", "MARTLET_SUPERVISION_LIVENESS_TIMEOUT": "1s",
            "MARTLET_LIMITS_MESSAGES_PER_SECOND": "20", "MARTLET_LIMITS_MESSAGE_BURST": "20",
        ].merging(more) { $1 }
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

    /// False under ThreadSanitizer, where a step costs ten times as much, so that counts in a second mean nothing.
    private static let isMeasurable = Sanitizer.present != .thread

    @Test(.enabled(if: isMeasurable))
    func `sixty-four connections that send what expands to a thousand times its size`() async throws {
        let report = try await report("bombs")
        // A client that is served no faster than its rate does not exceed it, so a slow build closes none.
        #expect(Set(report.codes.keys).isSubset(of: ["4429"]) && report.pongs > 5, "\(report)")
    }

    @Test(arguments: ["pongs", "fragments"])
    func `clients that endlessly send frames that never make a message exceed their rate`(mode: String) async throws {
        let report = try await report(mode)
        // A client that is closed while it sends may find its connection reset.
        let ended = report.codes["4429", default: 0] + report.codes["reset", default: 0]
        #expect(ended == 8 && report.codes["4429", default: 0] > 0 && report.pongs > 10, "\(report)")
    }

    @Test(.enabled(if: isMeasurable))
    func `clients that join and leave, and are in many rooms`() async throws {
        let report = try await report("joins", ["MARTLET_LIMITS_MESSAGES_PER_SECOND": "0"])
        #expect(report.answers > 16 * 250 && report.pongs > 5, "\(report)")
    }

    @Test func `a join counts by its cost, because all rooms of the connection are copied`() async throws {
        let environment = ["MARTLET_LIMITS_MESSAGES_PER_SECOND": "1", "MARTLET_LIMITS_MESSAGE_BURST": "400"]
        try await TestServer.with(workers: 1, environment: environment) { server in
            let clients = try WebSocketClients()
            try await clients.open([("few", server.webSocket("few")), ("many", server.webSocket("many"))])
            func join(_ name: String, _ room: String) {
                clients.send(name, "{\"type\":\"join_thread\",\"thread_id\":\"\(room)\"}")
            }
            for number in 0..<120 { join("many", "\(number)" + String(repeating: "x", count: 250)) }
            let joined = try await clients.messages("many", count: 120)
            #expect(joined.allSatisfy { $0.contains("thread_joined") })
            // An identity has 31 KB by now, which is read and written, so it counts twice.
            for number in 0..<300 {
                join("few", "\(number % 2)")
                join("many", "y\(number % 2)")
            }
            let few = try await clients.messages("few", count: 300)
            #expect(few.allSatisfy { $0.contains("thread_joined") })
            let many = try await clients.messages("many", count: 420).suffix(300)
            let refused = many.count { $0.contains("rate_limited") }
            #expect((120...240).contains(refused), "280 were left, at two each: \(refused)")
        }
    }

    @Test func `clients that send nearly all of a large message and then nothing are bounded together`() async throws {
        let report = try await report("partial", ["MARTLET_LIMITS_PARTIAL_MESSAGE_BYTES": "16777216"])
        // Each has up to 2 MiB for its 900 KB.
        let refused = report.codes["1013", default: 0] + report.codes["reset", default: 0]
        #expect((40...58).contains(refused) && report.codes["1013", default: 0] > 0 && report.pongs > 10, "\(report)")
    }

    @Test func `strangers who send requests without an end`() async throws {
        let report = try await report("requests")
        #expect(report.answers > 1000 && report.pongs > 10)
    }
}
