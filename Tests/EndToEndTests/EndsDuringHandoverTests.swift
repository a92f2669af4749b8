// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Connections that end in the middle of a handover, in every way that TCP allows, end with the right close, and once.
@Suite(.serialized) struct EndsDuringHandoverTests {
    private static let endings = ["half", "reset", "polite", "parting", "talk", "slow", "kicked", "mute"]

    @Test(arguments: ["freeze 0", "frozen 0", "collect 1", "collected 1", "commit 1", "recovered 1"])
    func `while a worker is replaced`(_ point: String) async throws {
        let words = point.split(separator: " ")
        try await whileWaiting(at: "\(words[0]) wait \(1 + (Int(words[1]) ?? 0))", ["restart", "--shard", "0"])
    }

    @Test(arguments: ["frozen wait 1", "collect wait 2", "collected wait 2", "commit wait 2"])
    func `while users move to other workers`(_ fault: String) async throws {
        try await whileWaiting(at: fault, ["scale", "2"])
    }

    private func whileWaiting(at fault: String, _ command: [String]) async throws {
        try await withClients(planning: fault) { server, clients, faults in
            async let done = server.control(command)
            try await server.process.lines.wait("worker that waits") { lines in
                lines.contains { $0.text.contains("waits, as planned") }
            }
            try await clients.endAll()
            try faults.plan("")
            let (code, _, error) = try await done
            #expect(code == 0, "\(error)")
        }
    }

    @Test func `while a worker hangs, before it is killed`() async throws {
        try await withClients { server, clients, _ in
            let worker = try await server.statistics().shards[0].pid
            kill(worker, SIGSTOP)
            try await clients.endAll()
            kill(worker, SIGKILL)
        }
    }

    /// Runs a server with raw clients, and with a fault that workers read when they start.
    private func withClients(
        planning fault: String = "",
        _ disturb: (TestServer, RawClients, Faults) async throws -> Void
    ) async throws {
        let faults = Faults()
        try faults.plan(fault)
        defer { faults.remove() }
        try await TestServer.with(workers: 1, environment: ["MARTLET_FAULTS": faults.path]) { server in
            let clients = try RawClients(server)
            for name in Self.endings { try await clients.tell("open \(name) \(server.client) /ws?user=\(name)") }
            let body = "\"" + String(repeating: "x", count: 40_000) + "\""
            for _ in 0..<10 { #expect(try await server.publish(body, toUser: "slow").delivered == 1) }
            for name in ["kicked", "mute"] {
                let path = "/v1/users/\(name)/connections?code=3001"
                #expect(try await server.request("DELETE", path).status == 200)
            }
            try await disturb(server, clients, faults)

            try await server.waitForStatistics("shards that serve") { statistics in
                statistics.shards.allSatisfy { $0.state == "serving" }
            }
            try await clients.tell("close slow 1000")
            let ends = try await clients.readAll()
            #expect(ends["half"] == .init(texts: 1, code: nil, end: "eof"))
            #expect(ends["polite"] == .init(texts: 1, code: 1000, end: "eof"))
            #expect(ends["parting"] == .init(texts: 1, code: 1000, end: "eof"))
            #expect(ends["talk"] == .init(texts: 2, code: 1000, end: "eof"))
            #expect(ends["slow"] == .init(texts: 11, code: 1000, end: "eof"))
            #expect(ends["kicked"] == .init(texts: 1, code: 3001, end: "eof"))
            #expect(ends["mute"] == .init(texts: 1, code: 3001, end: "eof"))
            try await server.waitForStatistics("all slots free") { statistics in
                statistics.totalConnections == 0 && statistics.shards.allSatisfy { $0.slotsInUse == 0 }
            }
            let metrics = try await server.request("GET", "/metrics").body.split(separator: "\n")
            let closes = metrics.filter { $0.hasPrefix("martlet_closes_total{") && !$0.hasSuffix(" 0") }
            #expect(
                Set(closes) == [
                    "martlet_closes_total{code=\"1000\"} 4", "martlet_closes_total{code=\"1006\"} 2",
                    "martlet_closes_total{code=\"3xxx\"} 2",
                ]
            )
        }
    }
}

/// Clients that send and receive bytes, in a Python script with bare sockets.
private final class RawClients {
    struct End: Decodable, Equatable {
        let texts: Int
        let code: Int?
        let end: String
    }

    private let process: Subprocess
    private var told = 0

    init(_ server: TestServer) throws {
        process = try Subprocess("/usr/bin/python3", [WebSocketClients.script("raw_clients.py")])
    }

    deinit { process.closeInput() }

    /// Sends a line to the script, and returns its answer.
    @discardableResult
    func tell(_ line: String) async throws -> String {
        process.write(line)
        told += 1
        let count = told
        try await process.lines.wait("answer to: \(line)", seconds: 40) { $0.count >= count }
        return await process.lines.events[count - 1].text
    }

    func endAll() async throws {
        for line in [
            "half half", "reset reset", "close polite 1000", "close parting 1000", "half parting",
            "text talk {\"type\":\"ping\"}", "close talk 1000", "close kicked 3001",
        ] { try await tell(line) }
    }

    func readAll() async throws -> [String: End] {
        var ends: [String: End] = [:]
        for name in ["half", "polite", "parting", "talk", "slow", "kicked", "mute"] {
            ends[name] = try JSONDecoder().decode(End.self, from: Data(try await tell("end \(name)").utf8))
        }
        return ends
    }
}
