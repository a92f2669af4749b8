// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import NIOCore
internal import NIOPosix

/// Holds connections with numbered traffic in both directions while something happens to the server.
///
/// It reports every connection that is dropped, and every message that is lost, duplicated or out of order.
final class ContinuityRun: @unchecked Sendable {
    // Unchecked: set up before the loop starts, then touched only on the loop.
    private let command: Continuity
    private let measurement: Measurement
    private let echoCount: Int
    private var crowds: [Crowd] = []
    private var traffic: Traffic?
    private var clients: [Int: LoadClient] = [:]
    private var talkers: [Talker] = []
    private var arrivals: Arrivals
    private var stalls: [UInt64]
    private var greeted = 0
    private var isEnding = false
    private var done: EventLoopPromise<Void>?
    private var loop: (any EventLoop)?

    init(_ command: Continuity, _ measurement: Measurement) {
        self.command = command
        self.measurement = measurement
        // Only servers in development mode send back what they get; they ask for no tokens.
        echoCount = measurement.options.hasTokens ? 0 : min(50, max(1, command.connections / 20))
        let all = command.connections + echoCount
        arrivals = Arrivals(connections: all)
        stalls = Array(repeating: 0, count: all)
    }

    func run() throws {
        try open()
        let disturbance = try command.disturbance { [measurement] in measurement.workers() }
        let started = Date()
        try measurement.loop.submit { self.begin() }.wait()
        disturbance.run()
        let seconds = Date().timeIntervalSince(started)
        try measurement.loop.submit {
            self.isEnding = true
            self.traffic?.end()
        }.wait()
        // What is under way arrives, or counts as missing.
        let deadline = Date().addingTimeInterval(30)
        while Date() < deadline, try measurement.loop.submit({ self.isUnfinished }).wait() {
            Thread.sleep(forTimeInterval: 0.02)
        }
        try measurement.loop.submit { self.report(disturbance, seconds) }.wait()
        try measurement.loop.submit { self.crowds.forEach { $0.close() } }.wait()
    }

    // MARK: Connections

    private func open() throws {
        let half = command.firstInThread
        let api = try measurement.options.apiAddress()
        let plain = try measurement.crowd(half, users: command.connections, threads: [Traffic.thread])
        var inThread = try measurement.crowd(
            command.connections - half,
            users: command.connections,
            path: measurement.options.path + "&thread_id=\(Traffic.thread)",
            threads: [Traffic.thread]
        )
        inThread.first = half
        var echoes = try measurement.crowd(echoCount, users: 1, path: "/echo")
        echoes.first = command.connections
        try measurement.wait { [inThread, echoes] loop, done in
            self.loop = loop
            self.done = done
            for settings in [plain, inThread, echoes] {
                let crowd = Crowd(settings, on: loop) { self.arrived($0, $1) }
                self.crowds.append(crowd)
                crowd.open().whenComplete { _ in self.greet() }
            }
            self.traffic = Traffic(self.command.traffic(hasSessions: false), api, on: loop)
        }
    }

    private func greet() {
        for crowd in crowds { for client in crowd.clients { clients[client.number] = client } }
        for (why, count) in crowds.flatMap(\.failures) { fail("\(count) connections failed: \(why)") }
        if greeted == command.connections, clients.count == command.connections + echoCount { done?.succeed() }
    }

    private func fail(_ why: String) { done?.fail(Measurement.Failed(description: why)) }

    private func arrived(_ client: LoadClient, _ message: ByteBuffer) {
        guard let message = NumberedMessage(message) else {
            greeted += 1
            if greeted == command.connections { greet() }
            return
        }
        arrivals.add(message.number, message.sequence, to: client.number)
        // A slow client is late by its own choice.
        if !isSlow(client.number) {
            stalls[client.number] = max(stalls[client.number], NIODeadline.now().uptimeNanoseconds &- message.sentAt)
        }
    }

    // MARK: Traffic

    private func begin() {
        traffic?.begin()
        for client in crowds.last?.clients ?? [] {
            guard let loop else { return }
            let talker = Talker(client, on: loop) { NumberedMessage.text(.echo, $0, padding: $1) }
            talkers.append(talker)
            talk(talker)
        }
        rest()
    }

    /// Sends a client's own numbered messages, which come back: whole, in fragments, and with pauses within a frame.
    private func talk(_ talker: Talker) {
        if isEnding { return }
        talker.say { self.later(.milliseconds(.random(in: 1...100))) { self.talk(talker) } }
    }

    /// Makes some clients read only in bursts, so that their queues and send buffers are full now and then.
    private func rest() {
        if isEnding { return }
        let slow = clients.values.filter { isSlow($0.number) }
        let resting = slow.filter { _ in Bool.random() }
        for client in resting { client.setReading(false) }
        later(.milliseconds(700)) {
            for client in resting { client.setReading(true) }
            self.later(.milliseconds(300)) { self.rest() }
        }
    }

    private func isSlow(_ number: Int) -> Bool { number % 50 == 49 && number < command.connections }

    private func later(_ pause: TimeAmount, _ then: @escaping () -> Void) {
        guard let loop else { return }
        let bound = NIOLoopBound(then, eventLoop: loop)
        loop.scheduleTask(in: pause) { bound.value() }
    }

    // MARK: The end

    private var isUnfinished: Bool { (traffic?.underWay ?? 0) > 0 || !missing().isEmpty }

    /// Returns how many messages of which sequence have not come, and where.
    private func missing() -> [(count: Int, detail: String)] {
        var said: [Int: Int] = [:]
        for talker in talkers { said[talker.client.number] = talker.said }
        var all: [(Int, String)] = []
        for client in 0..<command.connections + echoCount {
            for sequence in NumberedMessage.Sequence.allCases {
                let sent = sequence == .echo ? said[client] ?? 0 : traffic?.sent(sequence, to: client) ?? 0
                let count = arrivals.missing(sequence, of: client, sent: sent)
                if count > 0 { all.append((count, "connection \(client) lacks \(count) of \(sent) (\(sequence))")) }
            }
        }
        return all
    }

    private func report(_ disturbance: Disturbance, _ seconds: Double) {
        var report = measurement.report
        let lost = missing()
        let dropped = crowds.reduce(0) { $0 + $1.dropped }
        report.add("connections", "connections", command.connections + echoCount)
        report.add("seconds", "time", seconds, "s")
        report.add("events", "events", disturbance.done)
        if case .kills = disturbance.kind { report.add("unrecorded", "with unrecorded bytes", disturbance.unrecorded) }
        traffic?.report(to: &report, isShort: false)
        report.add("deliveries", "deliveries", arrivals.count)
        report.add("echoes", "echoes", talkers.reduce(0) { $0 + $1.said })
        var latencies = Latencies()
        for (number, stall) in stalls.enumerated() where !isSlow(number) { latencies.add(stall) }
        for (name, microseconds) in latencies.summary() where name != "p99.9" {
            report.add("stall_\(name)_ms", "longest stall \(name)", microseconds / 1000, "ms")
        }
        let faults = [arrivals.published, arrivals.answered]
        for (name, count) in [
            ("dropped", dropped), ("lost", lost.reduce(0) { $0 + $1.count }),
            ("duplicates", faults.reduce(0) { $0 + $1.duplicates }),
            ("out of order", faults.reduce(0) { $0 + $1.misordered }),
        ] {
            report.add(name.replacing(" ", with: "_"), name, count)
            if count != 0 { report.breakPromise("\(count) \(name)") }
        }
        for detail in lost.map(\.detail).prefix(10) + disturbance.failures.prefix(10) { report.breakPromise(detail) }
        measurement.report = report
    }
}
