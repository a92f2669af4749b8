// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Sessions go on whatever happens to the processes of the service while their clients are away, or come back.
@Suite(.serialized) struct SessionsSurviveEverythingTests {
    private struct Report: Decodable {
        let published: Int
        let said: Int
        let held: Int
        let cuts: Int
        let resumes: Int
        let wrong: [String]
    }

    /// Runs sessions whose connections break all the time, while `disturb` does its work.
    private func load(
        _ client: String,
        _ api: String,
        sessions: Int,
        cuts: Int,
        _ disturb: () async throws -> Void
    ) async throws -> Report {
        let script = WebSocketClients.script("session_load.py")
        let clients = try Subprocess(WebSocketClients.python, [script, client, api, "\(sessions)", "\(cuts)"])
        try await clients.lines.wait("\(sessions) sessions", seconds: 60) { $0.contains { $0.text == "ready" } }
        try await disturb()
        clients.write("")
        try await clients.lines.wait("a report", seconds: 120) { $0.contains { $0.text.hasPrefix("{") } }
        let text = await clients.lines.events.last { $0.text.hasPrefix("{") }?.text ?? ""
        return try TestServer.decode(Report.self, from: text)
    }

    @Test func `500 sessions lose nothing, whatever breaks: their sockets, workers, or the whole arrangement`()
        async throws
    {
        try await TestServer.with { server in
            let report = try await load(server.client, server.api, sessions: 500, cuts: 60) {
                let orders = [
                    ["restart", "--all"], ["kill"], ["scale", "3"], ["upgrade"], ["kill"], ["scale", "2"], ["reload"],
                    ["kill"],
                ]
                try await server.undergo(orders + orders + orders)
            }
            #expect(report.wrong == [], "\(report)")
            #expect(report.resumes > 50 && report.held > 50 && report.said > 100, "\(report)")
            // Only clients that ended while they were away have left something: a session, without a connection.
            try await server.waitForStatistics("nobody") { now in
                now.totalConnections == 0 && now.shards.allSatisfy { $0.slotsInUse == 0 }
            }
        }
    }

    @Test(arguments: ["resuming", "resumed", "moved"])
    func `a worker that ends at any step of a resume leaves the session to one of two slots`(
        _ step: String
    ) async throws {
        let faults = Faults()
        try faults.plan("")
        defer { faults.remove() }
        try await TestServer.with(workers: 1, environment: ["MARTLET_FAULTS": faults.path]) { server in
            let clients = try WebSocketClients()
            var greeting = try await clients.connect("0", server, user: "u", "new", "&thread_id=t")
            for (round, (action, isAlive)) in [("kill", true), ("kill", false), ("trap", true), ("exit", false)]
                .enumerated()
            {
                try await server.publish(2 * round + 1...2 * round + 1, to: "u")
                _ = try await clients.messages("\(round)", count: 1)
                if !isAlive {
                    clients.breakConnection("\(round)")
                    try await server.waitForWaiting(1, of: "u")
                }
                let generation = try await server.statistics().shards[0].generation
                try faults.plan("\(step) \(action) \(generation + 1)")
                #expect(try await server.control(["restart", "--all"]).code == 0)
                try faults.plan("")
                // Until the new slot is open, the socket belongs to nothing: the client comes again with what it had.
                if step == "resuming" {
                    let offer = ["martlet", "resume.\(greeting.session ?? "").\(2 * round)"]
                    let lost = try await clients.attempt("\(round) lost", server.webSocket("u"), protocols: offer)
                    #expect(lost.ev == "refused")
                }
                greeting = try await clients.resume("\(round + 1)", server, user: "u", greeting, received: 2 * round)
                #expect(greeting.resumed == true && greeting.replay == 1, "\(step) \(round): \(greeting)")
                let answer = try await server.request("POST", "/v1/threads/t/messages", body: "\(2 * round + 2)")
                #expect(try answer.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1))
                let texts = try await clients.messages("\(round + 1)", count: 2)
                #expect(texts == ["\(2 * round + 1)", "\(2 * round + 2)"])
                #expect(
                    try await server.statistics().shards[0].generation > generation + 1,
                    "\(step): it has not ended"
                )
                if isAlive { #expect([1012, 4409].contains(try await clients.closeCode("\(round)"))) }
            }
            #expect(try await server.statistics().totalConnections == 1)
        }
    }

    @Test func `a worker that ends while it lets a session wait leaves it waiting`() async throws {
        let faults = Faults()
        try faults.plan("waits kill 1")
        defer { faults.remove() }
        try await TestServer.with(workers: 1, environment: ["MARTLET_FAULTS": faults.path]) { server in
            let clients = try WebSocketClients()
            let first = try await clients.connect("a", server, user: "u", "new")
            try await server.publish(1...3, to: "u")
            _ = try await clients.messages("a", count: 3)
            clients.breakConnection("a")
            try await server.waitForStatistics("the next worker") {
                $0.shards[0].generation == 2 && $0.shards[0].state == "serving"
            }
            #expect(try await server.publish(4...4, to: "u") == .init(matched: 1, delivered: 0, held: 1))
            let second = try await clients.resume("b", server, user: "u", first, received: 1)
            #expect(second.resumed == true)
            #expect(try await clients.messages("b", count: 3) == ["2", "3", "4"])
        }
    }

    @Test func `a session never shows another user's messages, whoever resumes it with whatever he has`() async throws {
        try await TestServer.with { server in
            let script = WebSocketClients.script("session_strangers.py")
            let run = try await Subprocess.run(WebSocketClients.python, [script, server.client, server.api, "400"])
            #expect(run.code == 0, "\(run.output)\(run.error)")
        }
    }

    @Test func `a socket that ended while nobody looked leaves its session waiting, whatever the kernel says about it`()
        async throws
    {
        try await TestServer.with { server in
            let script = WebSocketClients.script("session_reset.py")
            let run = try await Subprocess.run(WebSocketClients.python, [script, server.client, server.api])
            #expect(run.code == 0, "\(run.output)\(run.error)")
        }
    }

    @Test func `sessions come through restarts of the whole service, and the supervisor's death`() async throws {
        try await ServiceLab.with(arguments: "--dev --workers 2") { lab in
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            let (client, api) = ("127.0.0.1:\(lab.clientPort)", "127.0.0.1:\(lab.clientPort + 1)")
            let serving = "until martletctl status; do sleep 0.05; done"
            let kill = "kill -9 $(systemctl show --value -p MainPID martlet.service)"
            let report = try await load(client, api, sessions: 100, cuts: 40) {
                for order in ["systemctl restart martlet.service", kill, "systemctl restart martlet.service"] {
                    let run = try await lab.shell("\(order); \(serving)")
                    #expect(run.code == 0, "\(run.error)")
                }
            }
            #expect(report.wrong == [], "\(report)")
            #expect(report.resumes > 10 && report.held > 10, "\(report)")
        }
    }
}
