// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletSystemd

/// Tells the service manager while the service runs (sd_notify(3)) how it is, and that it is alive.
///
/// If there is no service manager, nothing is sent, and nothing is due.
struct ServiceNotes {
    /// How old the status may become.
    private static let statusInterval: UInt64 = 5_000_000_000
    /// By how much each notification extends the time for a start, a stop or a reload.
    private static let extensionMicroseconds = 15_000_000

    private let isHeard = Systemd.isListening
    /// A third of the time that the service manager waits (sd_watchdog_enabled(3)).
    private let watchdogInterval = Systemd.watchdogInterval.map { $0 / 3 }
    private var watchdogDue: UInt64 = 0
    private var statusDue: UInt64 = 0
    private var sent = 0
    private var sentAt: UInt64 = 0

    /// When ``tell(_:now:)`` must be called again; nil: never.
    var deadline: UInt64? {
        isHeard ? min(statusDue, watchdogInterval == nil ? .max : watchdogDue) : nil
    }

    /// The service as it is now.
    struct Service {
        /// Whether nothing is overdue.
        var isWell: Bool
        /// Whether it is starting, stopping or reloading, and makes progress.
        var isBusy: Bool
        var workers: [ShardStatistics]
    }

    /// Sends what is due.
    mutating func tell(_ service: @autoclosure () -> Service, now: UInt64) {
        guard let deadline, now >= deadline else { return }
        let service = service()
        var lines: [String] = []
        if watchdogInterval != nil, now >= watchdogDue, service.isWell { lines.append("WATCHDOG=1") }
        if let watchdogInterval, now >= watchdogDue { watchdogDue = now + watchdogInterval }
        if now >= statusDue {
            lines.append("STATUS=" + status(service.workers, now))
            if service.isBusy { lines.append("EXTEND_TIMEOUT_USEC=\(Self.extensionMicroseconds)") }
            statusDue = now + Self.statusInterval
        }
        if !lines.isEmpty { Systemd.notify(lines.joined(separator: "\n")) }
    }

    /// Notes that the shards have changed, so that the status is due.
    mutating func changed() { statusDue = 0 }

    /// Tells that every shard serves, for the first time or again.
    mutating func ready() {
        Systemd.notify("READY=1")
        changed()
    }

    /// Tells that workers are being replaced; ``ready()`` follows.
    mutating func reloading() {
        Systemd.notify("RELOADING=1\nMONOTONIC_USEC=\(Clock.monotonicNanoseconds() / 1000)")
        changed()
    }

    /// Tells that this process ends, but the service goes on.
    func leaving() { Systemd.notify("STOPPING=1\nSTATUS=The workers keep serving until the next process takes over") }

    func stopping() { Systemd.notify("STOPPING=1\nSTATUS=Closing connections") }

    /// Makes the status, such as `2 shards serve 1200 connections, 340 messages/s`.
    private mutating func status(_ workers: [ShardStatistics], _ now: UInt64) -> String {
        let total = workers.reduce(into: Counters()) { $0.merge($1.counters) }[.messagesSent]
        let seconds = Double(now - sentAt) / 1e9
        let rate =
            sentAt == 0 || sent == 0 || total < sent ? 0 : Int(min(Double(total - sent) / max(seconds, 0.001), 1e15))
        (sent, sentAt) = (total, now)
        let connections = workers.reduce(0) { $0 + $1.connections }
        let down = workers.filter { $0.state != .serving }
        let shards: String
        if down.isEmpty {
            shards = workers.count == 1 ? "1 shard serves" : "\(workers.count) shards serve"
        } else {
            let names = down.map { "shard \($0.shard) is \($0.state)" + ($0.lastEnd.map { " (\($0))" } ?? "") }
            shards = "\(workers.count - down.count) of \(workers.count) shards serve; \(names.joined(separator: ", "));"
        }
        return "\(shards) \(connections) \(connections == 1 ? "connection" : "connections"), \(rate) messages/s"
    }
}
