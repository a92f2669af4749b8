// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import NIOCore

/// Opens connections, and reports what each costs the server.
final class ConnectRun: @unchecked Sendable {
    // Unchecked: set up before the loop starts, then touched only on the loop.
    private let command: Connect
    private let measurement: Measurement
    private var crowd: Crowd?
    private var greeted = 0
    private var done: EventLoopPromise<Void>?

    init(_ command: Connect, _ measurement: Measurement) {
        self.command = command
        self.measurement = measurement
    }

    func run() throws {
        let before = measurement.cost()
        let ownBefore = ServerCost.own()
        let started = NIODeadline.now()
        let settings = try measurement.crowd(
            command.connections,
            users: command.users,
            concurrency: command.concurrency
        )
        try measurement.wait { loop, done in
            self.done = done
            let crowd = Crowd(settings, on: loop) { _, _ in self.greeting() }
            self.crowd = crowd
            crowd.open().whenComplete { _ in self.check() }
        }
        let seconds = Double((NIODeadline.now() - started).nanoseconds) / 1e9
        let after = measurement.cost()
        let own = ServerCost.own() - ownBefore
        if command.hold > 0 { Thread.sleep(forTimeInterval: Double(command.hold)) }
        let failed = try finish()
        let count = Double(max(1, command.connections))
        measurement.report.add("connections", "connections", command.connections)
        measurement.report.add("failed", "failed", failed)
        measurement.report.add("handshakes_per_second", "handshakes", count / seconds, "per second")
        if let before, let after {
            measurement.report.add(
                "server_cpu_per_handshake_us",
                "server CPU",
                (after.cpu - before.cpu) / count,
                "us per handshake"
            )
            measurement.report.add(
                "server_memory_per_connection",
                "server memory",
                Double(after.memory - before.memory) / count,
                "bytes per connection (PSS)"
            )
            measurement.report.add("server_memory", "server memory in total", after.memory, "bytes (PSS)")
        }
        measurement.report.add("own_cpu_per_handshake_us", "own CPU", own / count, "us per handshake")
    }

    private func greeting() {
        greeted += 1
        check()
    }

    private func check() {
        guard let crowd else { return }
        let failed = crowd.failures.values.reduce(0, +)
        if crowd.clients.count + failed == command.connections, greeted >= crowd.clients.count { done?.succeed() }
    }

    private func finish() throws -> Int {
        let measurement = measurement
        let failed = try measurement.loop.submit { () -> Int in
            guard let crowd = self.crowd else { return 0 }
            for (why, count) in crowd.failures {
                measurement.report.breakPromise("\(count) connections failed: \(why)")
            }
            if crowd.dropped > 0 { measurement.report.breakPromise("\(crowd.dropped) connections were dropped") }
            crowd.close()
            return crowd.failures.values.reduce(0, +)
        }.wait()
        return failed
    }
}
