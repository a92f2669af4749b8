// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import NIOCore

/// Publishes numbered messages to all connections, or to one user after another, and checks what arrives.
///
/// A message is `{"n":NUMBER,"t":NANOSECONDS,"p":"xxx"}`, padded to its size. The number reveals losses, duplicates and
/// changes of order; the time, from this machine's clock, gives the latency.
final class PublishRun: @unchecked Sendable {
    // Unchecked: set up before the loop starts, then touched only on the loop.
    private let measurement: Measurement
    private let connections: Int
    private let messages: Int
    private let size: Int
    private let window: Int
    /// How many deliveries there should be in a second; 0: as many as there can be.
    private let rate: Int
    private var startedAt: UInt64 = 0
    private var isWaiting = false
    private let isFanout: Bool
    private var crowd: Crowd?
    private var publisher: Publisher?
    private var done: EventLoopPromise<Void>?
    private var published = 0
    private var answered = 0
    private var received = 0
    private var duplicates = 0
    private var misordered = 0
    private var malformed = 0
    private var refused = 0
    private var receiptMismatches = 0
    private var latencies = Latencies()
    private var receiptLatencies = Latencies()
    private var isMeasuring = false

    static func fanout(_ command: Fanout, _ measurement: Measurement) -> PublishRun {
        PublishRun(
            measurement,
            connections: command.connections,
            messages: command.messages,
            size: command.size,
            window: command.window,
            rate: command.rate,
            isFanout: true
        )
    }

    static func unicast(_ command: Unicast, _ measurement: Measurement) -> PublishRun {
        PublishRun(
            measurement,
            connections: command.connections,
            messages: command.messages,
            size: command.size,
            window: command.window,
            rate: 0,
            isFanout: false
        )
    }

    private init(
        _ measurement: Measurement,
        connections: Int,
        messages: Int,
        size: Int,
        window: Int,
        rate: Int,
        isFanout: Bool
    ) {
        self.measurement = measurement
        self.connections = connections
        self.messages = messages
        self.size = size
        self.window = window
        self.rate = rate
        self.isFanout = isFanout
    }

    private var deliveries: Int { isFanout ? messages * connections : messages }

    func run() throws {
        let settings = try measurement.crowd(connections, users: connections)
        let bound = try measurement.publisher()
        try measurement.wait { loop, done in
            self.publisher = bound.value
            self.done = done
            let crowd = Crowd(settings, on: loop) { self.arrived($0, $1) }
            self.crowd = crowd
            crowd.open().whenComplete { _ in self.begin() }
        }
        let before = measurement.cost()
        let ownBefore = ServerCost.own()
        let started = NIODeadline.now()
        try measurement.wait { _, done in
            self.done = done
            self.isMeasuring = true
            self.startedAt = NIODeadline.now().uptimeNanoseconds
            self.publishMore()
        }
        let seconds = Double((NIODeadline.now() - started).nanoseconds) / 1e9
        let own = ServerCost.own() - ownBefore
        report(seconds, before, measurement.cost(), own)
        try measurement.loop.submit { self.crowd?.close() }.wait()
    }

    /// Begins when all connections are open; each must have been greeted before the first message is sent.
    private func begin() {
        guard let crowd else { return }
        for (why, count) in crowd.failures { measurement.report.breakPromise("\(count) connections failed: \(why)") }
        if crowd.clients.allSatisfy({ $0.expected == 0 && greeted.contains($0.number) }) { done?.succeed() }
    }

    private var greeted: Set<Int> = []

    private func publishMore() {
        guard let publisher else { return }
        while published - answered < window, published < messages, inFlightDeliveries < window * max(1, perMessage) {
            guard isDue else { return }
            let number = published
            published += 1
            let sentAt = NIODeadline.now().uptimeNanoseconds
            // A user's messages are numbered by user, so that each connection can check its own sequence.
            let path =
                isFanout ? "/v1/broadcast" : "/v1/users/\(Crowd.user(number % connections, of: connections))/messages"
            let body = message(isFanout ? number : number / connections, sentAt)
            publisher.post(path, body) { status, receipt in
                self.answered += 1
                self.receiptLatencies.add(NIODeadline.now().uptimeNanoseconds - sentAt)
                if status != 200 {
                    self.refused += 1
                    if self.refused == 1 {
                        self.measurement.report.breakPromise("publish refused: \(status) \(receipt)")
                    }
                } else if !receipt.contains("\"delivered\":\(self.perMessage),") {
                    self.receiptMismatches += 1
                }
                self.advance()
            }
        }
    }

    /// Whether the next message may be published now; if not, it will be in time.
    private var isDue: Bool {
        guard rate > 0 else { return true }
        let due = startedAt + UInt64(published * perMessage) * 1_000_000_000 / UInt64(rate)
        let now = NIODeadline.now().uptimeNanoseconds
        if now >= due { return true }
        if isWaiting { return false }
        isWaiting = true
        measurement.loop.scheduleTask(in: .nanoseconds(Int64(due - now))) {
            self.isWaiting = false
            self.publishMore()
        }
        return false
    }

    private var perMessage: Int { isFanout ? connections : 1 }
    private var inFlightDeliveries: Int { published * perMessage - received }

    private func advance() {
        if published == messages, answered == messages, received + refused * perMessage >= deliveries {
            done?.succeed()
        } else {
            publishMore()
        }
    }

    private func message(_ number: Int, _ sentAt: UInt64) -> ByteBuffer {
        var text = "{\"n\":\(number),\"t\":\(sentAt),\"p\":\""
        text += String(repeating: "x", count: max(0, size - text.utf8.count - 2)) + "\"}"
        return ByteBuffer(string: text)
    }

    private func arrived(_ client: LoadClient, _ message: ByteBuffer) {
        guard isMeasuring else {
            if greeted.insert(client.number).inserted, greeted.count == connections,
                crowd?.clients.count == connections
            {
                done?.succeed()
            }
            return
        }
        received += 1
        guard let (number, sentAt) = Self.numbers(message) else {
            malformed += 1
            return
        }
        if number == client.expected {
            client.expected += 1
        } else if number < client.expected {
            duplicates += 1
        } else {
            misordered += 1
            client.expected = number + 1
        }
        latencies.add(NIODeadline.now().uptimeNanoseconds &- sentAt)
        if isFanout ? received % connections == 0 : true { advance() }
    }

    /// Reads `{"n":1,"t":2,` without a JSON decoder, which would cost more than the delivery itself.
    private static func numbers(_ message: ByteBuffer) -> (Int, UInt64)? {
        message.withUnsafeReadableBytes { bytes in
            var index = 5
            func number() -> UInt64? {
                var value: UInt64 = 0
                let start = index
                while index < bytes.count, (0x30...0x39).contains(bytes[index]) {
                    value = value &* 10 &+ UInt64(bytes[index] - 0x30)
                    index += 1
                }
                return index > start ? value : nil
            }
            guard bytes.count > 10, let first = number() else { return nil }
            index += 5
            guard let second = number() else { return nil }
            return (Int(first), second)
        }
    }

    private func report(_ seconds: Double, _ before: ServerCost?, _ after: ServerCost?, _ own: Double) {
        let count = Double(max(1, received))
        measurement.report.add("connections", "connections", connections)
        measurement.report.add("messages", "messages", messages)
        measurement.report.add("deliveries", "deliveries", received)
        measurement.report.add("deliveries_per_second", "delivery rate", count / seconds, "per second")
        measurement.report.add("latency", "latency", latencies)
        measurement.report.add("receipt", "receipt", receiptLatencies)
        if let before, let after {
            measurement.report.add(
                "server_cpu_per_delivery_us",
                "server CPU",
                (after.cpu - before.cpu) / count,
                "us per delivery"
            )
        }
        measurement.report.add("own_cpu_per_delivery_us", "own CPU", own / count, "us per delivery")
        let lost = deliveries - received - refused * perMessage
        for (name, number) in [
            ("lost", lost), ("duplicates", duplicates), ("out of order", misordered), ("malformed", malformed),
            ("refused", refused), ("receipts that do not agree", receiptMismatches), ("dropped", crowd?.dropped ?? 0),
        ] {
            measurement.report.add(name.replacing(" ", with: "_"), name, number)
            if number != 0 { measurement.report.breakPromise("\(number) \(name)") }
        }
    }
}
