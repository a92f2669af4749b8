// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import NIOCore

/// Sends messages over every connection, and waits for each to come back before the next.
final class EchoRun: @unchecked Sendable {
    // Unchecked: set up before the loop starts, then touched only on the loop.
    private let command: Echo
    private let measurement: Measurement
    private var crowd: Crowd?
    private var done: EventLoopPromise<Void>?
    private var received = 0
    private var wrong = 0
    private var sentAt: [Int: UInt64] = [:]
    private var latencies = Latencies()

    init(_ command: Echo, _ measurement: Measurement) {
        self.command = command
        self.measurement = measurement
    }

    func run() throws {
        let settings = try measurement.crowd(command.connections, users: 1, path: "/echo")
        try measurement.wait { loop, done in
            let crowd = Crowd(settings, on: loop) { self.arrived($0, $1) }
            self.crowd = crowd
            crowd.open().whenComplete { _ in done.succeed() }
        }
        let before = measurement.cost()
        let ownBefore = ServerCost.own()
        let started = NIODeadline.now()
        try measurement.wait { _, done in
            self.done = done
            guard let crowd = self.crowd, !crowd.clients.isEmpty else { return done.succeed() }
            for client in crowd.clients { self.send(client) }
        }
        let seconds = Double((NIODeadline.now() - started).nanoseconds) / 1e9
        let after = measurement.cost()
        let own = ServerCost.own() - ownBefore
        let count = Double(max(1, received))
        measurement.report.add("connections", "connections", command.connections)
        measurement.report.add("round_trips", "round trips", received)
        measurement.report.add("round_trips_per_second", "rate", count / seconds, "per second")
        measurement.report.add("latency", "round trip", latencies)
        if let before, let after {
            measurement.report.add(
                "server_cpu_per_echo_us",
                "server CPU",
                (after.cpu - before.cpu) / count,
                "us per round trip"
            )
        }
        measurement.report.add("own_cpu_per_echo_us", "own CPU", own / count, "us per round trip")
        measurement.report.add("wrong", "wrong", wrong)
        for (why, count) in crowd?.failures ?? [:] {
            measurement.report.breakPromise("\(count) connections failed: \(why)")
        }
        if wrong > 0 { measurement.report.breakPromise("\(wrong) messages came back changed") }
        if let dropped = crowd?.dropped, dropped > 0 {
            measurement.report.breakPromise("\(dropped) connections were dropped")
        }
        try measurement.loop.submit { self.crowd?.close() }.wait()
    }

    private func message(_ client: LoadClient, _ number: Int) -> ByteBuffer {
        let text = "{\"c\":\(client.number),\"n\":\(number)}"
        return ByteBuffer(string: text + String(repeating: " ", count: max(0, command.size - text.utf8.count)))
    }

    private func send(_ client: LoadClient) {
        sentAt[client.number] = NIODeadline.now().uptimeNanoseconds
        let end = min(client.expected + command.window, command.messages)
        client.send((client.expected..<end).map { message(client, $0) })
    }

    private func arrived(_ client: LoadClient, _ payload: ByteBuffer) {
        if let start = sentAt[client.number] { latencies.add(NIODeadline.now().uptimeNanoseconds - start) }
        if payload != message(client, client.expected) { wrong += 1 }
        received += 1
        client.expected += 1
        if client.expected < command.messages, client.expected % command.window == 0 { send(client) }
        if received == command.connections * command.messages { done?.succeed() }
    }
}
