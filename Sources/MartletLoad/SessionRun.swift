// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import NIOCore

/// Holds sessions with numbered traffic in both directions, whose connections break all the time, while something
/// happens to the server.
///
/// They reach the server through a ``Proxy``. It reports every session that could not go on, and every message that is
/// lost, duplicated or out of order.
final class SessionRun: @unchecked Sendable {
    // Unchecked: set up before the loop starts, then touched only on the loop.
    private static let together = 64
    private static let tick = TimeAmount.milliseconds(50)
    /// How long nothing may arrive at sessions that are all connected, before what is missing counts as lost.
    private static let patience = TimeAmount.seconds(3)
    private static let talkPause = TimeAmount.milliseconds(20)

    private let command: Continuity
    private let measurement: Measurement
    private let tally: SessionTally
    private var proxy: Proxy?
    private var traffic: Traffic?
    private var sessions: [Session] = []
    private var connected = 0
    private var cuts: [ProxyLine.Cut: Int] = [:]
    private var cutAt = NIODeadline.now()
    private var isEnding = false
    /// How much had arrived, and when that was seen first.
    private var progress = 0
    private var progressAt = NIODeadline.now()
    private var done: EventLoopPromise<Void>?
    private var loop: (any EventLoop)?

    init(_ command: Continuity, _ measurement: Measurement) {
        self.command = command
        self.measurement = measurement
        tally = SessionTally(connections: command.connections)
    }

    func run() throws {
        try open()
        let disturbance = try command.disturbance { [measurement] in measurement.workers() }
        let started = Date()
        try measurement.loop.submit { self.begin() }.wait()
        disturbance.run()
        let seconds = Date().timeIntervalSince(started)
        try measurement.loop.submit { self.end() }.wait()
        // Whoever is away comes back, and what is under way arrives, or counts as missing.
        try wait(seconds: 30) { self.isUnfinished && self.isMoving }
        try measurement.loop.submit { self.report(disturbance, seconds) }.wait()
        // Sessions that do not end would wait, and the next run would find them.
        try measurement.loop.submit { for session in self.sessions { session.close() } }.wait()
        try wait(seconds: 10) { !self.sessions.allSatisfy(\.isGone) }
        try measurement.loop.submit { self.proxy?.close() }.wait()
    }

    private func wait(seconds: Double, while condition: @escaping @Sendable () -> Bool) throws {
        let deadline = Date().addingTimeInterval(seconds)
        while Date() < deadline, try measurement.loop.submit(condition).wait() { Thread.sleep(forTimeInterval: 0.05) }
    }

    // MARK: Connections

    private func open() throws {
        let (host, port) = try Measurement.split(measurement.options.client)
        let api = try measurement.options.apiAddress()
        let tokens = try measurement.tokens(command.connections, [Traffic.thread] + Session.threads)
        try measurement.wait { loop, done in
            self.loop = loop
            self.done = done
            let proxy = Proxy(host: host, port: port, cutsHandshakes: self.command.cutHandshakes, on: loop)
            self.proxy = proxy
            self.traffic = Traffic(self.command.traffic(hasSessions: true), api, on: loop)
            proxy.open().whenComplete { result in
                switch result {
                case .success(let port): self.connect(.init(host: "127.0.0.1", port: port, tokens: tokens), on: loop)
                case .failure(let error): done.fail(error)
                }
            }
        }
    }

    private func connect(_ road: Session.Road, on loop: any EventLoop) {
        for number in 0..<command.connections {
            let user = Crowd.user(number, of: command.connections)
            let path = measurement.options.path.replacing("{user}", with: user)
            let room = number < command.firstInThread ? "" : "&thread_id=\(Traffic.thread)"
            sessions.append(
                Session(number, user: user, path: path + room, road, tally, on: loop) { [weak self] _ in
                    self?.opened()
                }
            )
        }
        for _ in 0..<min(Self.together, sessions.count) { connectNext() }
        watch()
    }

    private func connectNext() {
        guard connected < sessions.count else { return }
        sessions[connected].connect()
        connected += 1
    }

    private func opened() {
        if tally.opened == sessions.count { done?.succeed() } else { connectNext() }
    }

    /// Lets the sessions do what is due, again and again.
    private func watch() {
        let now = NIODeadline.now()
        for session in sessions.prefix(connected) { session.tick(now) }
        // At first nothing disturbs them.
        if tally.opened < sessions.count, let (why, count) = tally.failures.first {
            done?.fail(Measurement.Failed(description: "\(count) connections failed: \(why)"))
        }
        later(Self.tick) { $0.watch() }
    }

    // MARK: What happens

    private func begin() {
        proxy?.setCalm(false)
        traffic?.begin()
        cutAt = .now()
        cut()
        talk()
    }

    private func end() {
        isEnding = true
        traffic?.end()
        proxy?.setCalm(true)
    }

    /// Cuts one of the connections, and another one some time later.
    private func cut() {
        if isEnding { return }
        let kind = ProxyLine.Cut.allCases.randomElement() ?? .reset
        if let session = sessions.randomElement(), let port = session.port, let line = proxy?.line(port) {
            cuts[kind, default: 0] += 1
            if line.cut(kind) { session.suspect() }
        }
        // The times between events that do not know of each other.
        let pause = -Double(command.cutInterval) * log(Double.random(in: 0.001...1))
        // However late this one came, the next ones are in time.
        cutAt = cutAt + .microseconds(Int64(pause * 1000))
        loop?.scheduleTask(deadline: cutAt) { self.cut() }
    }

    /// Lets some clients say something.
    private func talk() {
        if isEnding { return }
        for _ in 0..<max(1, min(20, sessions.count / 50)) { sessions.randomElement()?.talk() }
        later(Self.talkPause) { $0.talk() }
    }

    private func later(_ pause: TimeAmount, _ then: @escaping @Sendable (SessionRun) -> Void) {
        loop?.scheduleTask(in: pause) { then(self) }
    }

    // MARK: The end

    /// Whether something has happened in the last seconds, or must happen.
    private var isMoving: Bool {
        let now = NIODeadline.now()
        if progress != tally.arrivals.count { (progress, progressAt) = (tally.arrivals.count, now) }
        return (traffic?.underWay ?? 0) > 0 || isAnyoneAway || now - progressAt < Self.patience
    }

    private var isUnfinished: Bool {
        (traffic?.underWay ?? 0) > 0 || isAnyoneAway || sessions.contains { isMissing($0) }
    }

    private var isAnyoneAway: Bool { sessions.contains { $0.state != .open && !$0.isExpired } }

    private func isMissing(_ session: Session) -> Bool {
        NumberedMessage.Sequence.allCases.contains { missing($0, session) > 0 }
    }

    private func missing(_ sequence: NumberedMessage.Sequence, _ session: Session) -> Int {
        if session.isExpired { return 0 }
        let sent = sequence == .echo ? session.said : traffic?.sent(sequence, to: session.number) ?? 0
        return tally.arrivals.missing(sequence, of: session.number, sent: sent)
    }

    private func report(_ disturbance: Disturbance, _ seconds: Double) {
        var report = measurement.report
        report.add("connections", "sessions", command.connections)
        report.add("seconds", "time", seconds, "s")
        report.add("events", "events", disturbance.done)
        if case .kills = disturbance.kind { report.add("unrecorded", "with unrecorded bytes", disturbance.unrecorded) }
        report.add("cuts", "cuts", cuts.values.reduce(0, +))
        let stalls = [ProxyLine.Cut.stall, .stallToClient, .stallToServer].compactMap { cuts[$0] }
        report.add("stalls", "of these, stalls", stalls.reduce(0, +))
        report.add("answers_delayed", "answers delayed", proxy?.delayed ?? 0)
        report.add("answers_dropped", "answers dropped", proxy?.dropped ?? 0)
        report.add("given_up", "sockets that clients gave up", tally.givenUp)
        report.add("resumes", "resumes", tally.resumes)
        report.add("replayed", "messages replayed", tally.replayed)
        report.add("sent_again", "client messages sent again", tally.sentAgain)
        report.add("expired", "sessions that waited too long", tally.expired)
        traffic?.report(to: &report, isShort: tally.expired > 0)
        report.add("deliveries", "deliveries", tally.arrivals.count)
        report.add("said", "client messages", sessions.reduce(0) { $0 + $1.said })
        for (name, microseconds) in tally.absences.summary() where name != "p99.9" {
            report.add("absence_\(name)_ms", "absence \(name)", microseconds / 1000, "ms")
        }
        addFaults(to: &report)
        for detail in disturbance.failures.prefix(10) { report.breakPromise(detail) }
        measurement.report = report
    }

    private func addFaults(to report: inout LoadReport) {
        let away = sessions.filter { $0.state != .open && !$0.isExpired }.count
        let lost = { (sequences: [NumberedMessage.Sequence]) in
            self.sessions.reduce(0) { sum, session in sequences.reduce(sum) { $0 + self.missing($1, session) } }
        }
        let (published, answered) = (tally.arrivals.published, tally.arrivals.answered)
        for (key, label, count) in [
            ("resumes_refused", "resumes refused", tally.refused.values.reduce(0, +)),
            ("dropped", "dropped", tally.dropped), ("away", "sessions that did not come back", away),
            ("faults", "messages that should not be", tally.faults),
            ("lost", "lost", lost([.user, .broadcast, .thread])), ("duplicates", "duplicates", published.duplicates),
            ("out_of_order", "out of order", published.misordered),
            ("client_lost", "client messages lost", lost([.echo])),
            ("client_duplicates", "client messages handled twice", answered.duplicates),
            ("client_out_of_order", "client messages out of order", answered.misordered),
        ] {
            report.add(key, label, count)
            if count != 0 { report.breakPromise("\(count) \(label)") }
        }
        for (why, count) in tally.refused { report.breakPromise("\(count) resumes refused: \(why)") }
        if away > 0 { for (why, count) in tally.failures { report.breakPromise("\(count) attempts failed: \(why)") } }
        let gaps = sessions.lazy.flatMap { session in
            NumberedMessage.Sequence.allCases.map { ($0, session.number, self.missing($0, session)) }
        }
        for (sequence, number, count) in gaps.filter({ $0.2 > 0 }).prefix(10) {
            report.breakPromise("session \(number) lacks \(count) (\(sequence))")
        }
        for detail in tally.details { report.breakPromise(detail) }
    }
}
