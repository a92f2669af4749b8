// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import NIOCore
internal import NIOPosix

/// Holds connections with numbered traffic in both directions while something happens to the server.
///
/// It reports every connection that is dropped, and every message that is lost, duplicated or out of order. A message
/// is `{"u":NUMBER,"t":NANOSECONDS,...}`: the letter is its sequence (user, broadcast, thread, or echo), and the time
/// is when it was first sent, so that the longest latency of a connection is its stall.
final class ContinuityRun: @unchecked Sendable {
    // Unchecked: set up before the loop starts, then touched only on the loop.
    fileprivate enum Sequence: Int, CaseIterable {
        case user, broadcast, thread, echo

        static let letters = Array("ubte".utf8)
        var letter: String { String(UnicodeScalar(Self.letters[rawValue])) }
    }

    private let command: Continuity
    private let measurement: Measurement
    private let random = String(UInt64.random(in: 0...UInt64.max), radix: 36)
    private let echoCount: Int
    private var crowds: [Crowd] = []
    private var backends: [Backend] = []
    private var clients: [Int: LoadClient] = [:]
    private var talkers: [Talker] = []
    /// The last number that came, by client and sequence.
    private var seen: [[Int]]
    private var stalls: [UInt64]
    private var sentToUser: [Int]
    private var broadcasts = 0
    private var threadMessages = 0
    private var greeted = 0
    private var underWay = 0
    private var isEnding = false
    private var publishes = 0
    private var deliveries = 0
    private var duplicates = 0
    private var misordered = 0
    private var wrongReceipts: [String] = []
    private var unanswered = 0
    private var done: EventLoopPromise<Void>?
    private var loop: (any EventLoop)?

    init(_ command: Continuity, _ measurement: Measurement) {
        self.command = command
        self.measurement = measurement
        echoCount = min(50, max(1, command.connections / 20))
        let all = command.connections + echoCount
        seen = Array(repeating: Array(repeating: 0, count: Sequence.allCases.count), count: all)
        stalls = Array(repeating: 0, count: all)
        sentToUser = Array(repeating: 0, count: command.connections)
    }

    func run() throws {
        try open()
        let disturbance = try command.disturbance { [measurement] in Self.workers(measurement) }
        let started = Date()
        try measurement.loop.submit { self.begin() }.wait()
        disturbance.run()
        let seconds = Date().timeIntervalSince(started)
        try measurement.loop.submit { self.isEnding = true }.wait()
        // What is under way arrives, or counts as missing.
        let deadline = Date().addingTimeInterval(30)
        while Date() < deadline, try measurement.loop.submit({ self.underWay > 0 || self.isAnythingMissing }).wait() {
            Thread.sleep(forTimeInterval: 0.02)
        }
        try measurement.loop.submit { self.report(disturbance, seconds) }.wait()
        try measurement.loop.submit { self.crowds.forEach { $0.close() } }.wait()
    }

    // MARK: Connections

    private func open() throws {
        let half = command.connections / 2
        let (host, port) = try Measurement.split(measurement.options.api)
        let plain = try measurement.crowd(half, users: command.connections)
        var inThread = try measurement.crowd(
            command.connections - half,
            users: command.connections,
            path: measurement.options.path + "&thread_id=continuity"
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
            for number in 0..<self.command.backends + 2 {
                let name = self.command.withoutKeys ? nil : "\(self.random)-\(number)"
                self.backends.append(Backend(name, host: host, port: port, on: loop))
            }
        }
    }

    private func greet() {
        for crowd in crowds { for client in crowd.clients { clients[client.number] = client } }
        for (why, count) in crowds.flatMap(\.failures) { fail("\(count) connections failed: \(why)") }
        if greeted == command.connections, clients.count == command.connections + echoCount { done?.succeed() }
    }

    private func fail(_ why: String) { done?.fail(Measurement.Failed(description: why)) }

    private func arrived(_ client: LoadClient, _ message: ByteBuffer) {
        guard let (sequence, number, sentAt) = Self.parse(message) else {
            greeted += 1
            if greeted == command.connections { greet() }
            return
        }
        deliveries += 1
        let last = seen[client.number][sequence.rawValue]
        if number <= last { duplicates += 1 } else if number != last + 1 { misordered += 1 }
        seen[client.number][sequence.rawValue] = max(last, number)
        // A slow client is late by its own choice.
        if !isSlow(client.number) {
            stalls[client.number] = max(stalls[client.number], NIODeadline.now().uptimeNanoseconds &- sentAt)
        }
    }

    /// Reads `{"u":1,"t":2,`; nil for anything that is not one of our messages.
    private static func parse(_ message: ByteBuffer) -> (Sequence, Int, UInt64)? {
        message.withUnsafeReadableBytes { bytes in
            guard bytes.count > 12, bytes[1] == UInt8(ascii: "\""), bytes[3] == UInt8(ascii: "\""),
                let sequence = Sequence.letters.firstIndex(of: bytes[2]).flatMap(Sequence.init)
            else { return nil }
            var index = 5
            func number() -> UInt64 {
                var value: UInt64 = 0
                while index < bytes.count, (0x30...0x39).contains(bytes[index]) {
                    value = value &* 10 &+ UInt64(bytes[index] - 0x30)
                    index += 1
                }
                return value
            }
            let first = number()
            index += 5
            return (sequence, Int(first), number())
        }
    }

    // MARK: Traffic

    private func begin() {
        for number in 0..<command.backends { unicast(number, user: number) }
        broadcast()
        sendToThread()
        for client in crowds.last?.clients ?? [] {
            guard let loop else { return }
            let talker = Talker(client, on: loop) { Self.message(.echo, $0, padding: $1) }
            talkers.append(talker)
            talk(talker)
        }
        rest()
    }

    private func unicast(_ number: Int, user: Int) {
        if isEnding { return }
        let user = user < command.connections ? user : number
        sentToUser[user] += 1
        let path = "/v1/users/\(Crowd.user(user, of: command.connections))/messages"
        let body = Self.message(.user, sentToUser[user], padding: Self.padding())
        publish(backends[number], path, body, matched: 1) {
            self.later(self.command.unicastPause) { self.unicast(number, user: user + self.command.backends) }
        }
    }

    private func broadcast() {
        if isEnding { return }
        broadcasts += 1
        let body = Self.message(.broadcast, broadcasts, padding: 20)
        publish(backends[command.backends], "/v1/broadcast", body, matched: command.connections) {
            self.later(self.command.broadcastPause) { self.broadcast() }
        }
    }

    private func sendToThread() {
        if isEnding { return }
        threadMessages += 1
        let body = Self.message(.thread, threadMessages, padding: 20)
        let members = command.connections - command.connections / 2
        publish(backends[command.backends + 1], "/v1/threads/continuity/messages", body, matched: members) {
            self.later(self.command.broadcastPause) { self.sendToThread() }
        }
    }

    private func publish(
        _ backend: Backend,
        _ path: String,
        _ body: ByteBuffer,
        matched: Int,
        _ then: @escaping () -> Void
    ) {
        underWay += 1
        publishes += 1
        backend.publish(path, body) { receipt in
            self.underWay -= 1
            let expected = "{\"matched\":\(matched),\"delivered\":\(matched),\"held\":0,\"failed\":0}"
            // Servers without sessions hold nothing, and do not say so.
            let older = "{\"matched\":\(matched),\"delivered\":\(matched),\"failed\":0}"
            if receipt == nil { self.unanswered += 1 }
            if let receipt, receipt != expected, receipt != older {
                self.wrongReceipts.append("\(path): \(receipt), expected \(expected)")
            }
            then()
        }
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

    private static func padding() -> Int { [10, 10, 10, 10, 10, 10, 10, 2000, 2000, 60000].randomElement() ?? 10 }

    private static func message(_ sequence: Sequence, _ number: Int, padding: Int) -> ByteBuffer {
        let text = "{\"\(sequence.letter)\":\(number),\"t\":\(NIODeadline.now().uptimeNanoseconds),\"p\":\""
        return ByteBuffer(string: text + String(repeating: "x", count: padding) + "\"}")
    }

    // MARK: The end

    private var isAnythingMissing: Bool { seen.indices.contains { !missing(of: $0).isEmpty } }

    private func missing(of client: Int) -> [String] {
        var expected = [0, 0, 0, 0]
        if client >= command.connections {
            expected[Sequence.echo.rawValue] = talkers.first { $0.client.number == client }?.said ?? 0
        } else {
            expected = [sentToUser[client], broadcasts, client >= command.connections / 2 ? threadMessages : 0, 0]
        }
        return Sequence.allCases.compactMap { sequence in
            let (has, wanted) = (seen[client][sequence.rawValue], expected[sequence.rawValue])
            return has == wanted ? nil : "connection \(client) has \(has) of \(wanted) (\(sequence))"
        }
    }

    private func report(_ disturbance: Disturbance, _ seconds: Double) {
        var report = measurement.report
        let lost = seen.indices.flatMap { missing(of: $0) }
        let dropped = crowds.reduce(0) { $0 + $1.dropped }
        report.add("connections", "connections", command.connections + echoCount)
        report.add("seconds", "time", seconds, "s")
        report.add("events", "events", disturbance.done)
        if case .kills = disturbance.kind { report.add("unrecorded", "with unrecorded bytes", disturbance.unrecorded) }
        report.add("publishes", "publishes", publishes)
        report.add("repeated", "sent again", backends.reduce(0) { $0 + $1.repeated })
        report.add("deliveries", "deliveries", deliveries)
        report.add("echoes", "echoes", talkers.reduce(0) { $0 + $1.said })
        var latencies = Latencies()
        for (number, stall) in stalls.enumerated() where !isSlow(number) { latencies.add(stall) }
        for (name, microseconds) in latencies.summary() where name != "p99.9" {
            report.add("stall_\(name)_ms", "longest stall \(name)", microseconds / 1000, "ms")
        }
        for (name, count) in [
            ("dropped", dropped), ("lost", lost.count), ("duplicates", duplicates), ("out of order", misordered),
            ("unanswered", unanswered),
        ] {
            report.add(name.replacing(" ", with: "_"), name, count)
            if count != 0 { report.breakPromise("\(count) \(name)") }
        }
        let details = lost.prefix(10) + wrongReceipts.prefix(10) + disturbance.failures.prefix(10)
        for detail in details + backends.flatMap(\.refusals).prefix(10) { report.breakPromise(detail) }
        measurement.report = report
    }

    /// Returns the workers that the server has; none if it cannot say so now.
    private static func workers(_ measurement: Measurement) -> [Disturbance.Worker] {
        let promise = measurement.loop.makePromise(of: String.self)
        let connected = try? measurement.publisher()
        measurement.loop.execute {
            guard let publisher = connected?.value else { return promise.succeed("") }
            publisher.get("/v1/stats") { _, body in
                promise.succeed(body)
                publisher.close()
            }
        }
        let body = (try? promise.futureResult.wait()) ?? ""
        guard let json = try? JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any],
            let shards = json["shards"] as? [[String: Any]]
        else { return [] }
        return shards.compactMap { shard in
            guard let number = shard["shard"] as? Int, let pid = shard["pid"] as? Int,
                let generation = shard["generation"] as? Int, shard["state"] as? String == "serving"
            else { return nil }
            let restart = shard["last_restart"] as? [String: Any]
            let unrecorded = restart?["positions_unrecorded"] as? Int ?? 0
            return .init(shard: number, pid: Int32(pid), generation: generation, unrecorded: unrecorded)
        }
    }
}
