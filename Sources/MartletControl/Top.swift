// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
internal import MartletWire

struct Top: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows shards, rates, queues and CPU, updated every second; q quits."
    )

    @OptionGroup var options: ControlOptions

    func validate() throws {
        if options.json { throw ValidationError("top is for people; in scripts use: stats --json --watch") }
    }

    func run() throws {
        var client = try options.client()
        guard let terminal = RawTerminal.open() else {
            throw ControlFailure.broken("top needs a terminal; without one use: martletctl stats --watch")
        }
        var before: Sample?
        var shown = Screen()
        var due = Clock.monotonicNanoseconds()
        while true {
            let now = Clock.monotonicNanoseconds()
            if now >= due {
                let sample = Sample(try client.get("/v1/stats").json(), at: now)
                shown = sample.screen(since: before)
                before = sample
                due = now + 1_000_000_000
            }
            // The screen is drawn again if only the terminal's size has changed.
            terminal.draw(shown.lines(in: Terminal.size ?? (80, 24)))
            let drawn = Clock.monotonicNanoseconds()
            let wait = due > drawn ? Int32((due - drawn) / 1_000_000) : 0
            switch terminal.key(milliseconds: max(1, wait)) {
            case UInt8(ascii: "q"), UInt8(ascii: "Q"), 3, 4: return
            case UInt8(ascii: " "): due = 0
            default: break
            }
        }
    }
}

/// The statistics at one moment.
private struct Sample {
    private let node: JSONValue
    private let time: UInt64

    init(_ node: JSONValue, at time: UInt64) {
        self.node = node
        self.time = time
    }

    /// Makes the screen: the node, then a line for each shard, with what has happened since the previous sample.
    func screen(since before: Sample?) -> Screen {
        let shards = node["shards"]?.array ?? []
        let serving = shards.count { $0["state"]?.string == "serving" }
        let lines = [
            "Martlet \(Report.text(node["version"]))  up \(Report.uptime(node["uptime_seconds"]))  "
                + "\(serving)/\(shards.count) shards serve",
            "connections \(Report.text(node["total_connections"]))  sessions waiting "
                + "\(Report.sessionsWaiting(shards))  users \(Report.text(node["unique_users"]))  "
                + "threads \(Report.text(node["threads"]))  jobs \(Report.text(node["jobs"]))",
            "sent/s \(rate(node["messages"]?["sent"], before?.node["messages"]?["sent"], before))  "
                + "received/s \(rate(node["messages"]?["received"], before?.node["messages"]?["received"], before))  "
                + "failed \(Report.text(node["messages"]?["failed"]))  "
                + "dropped \(Report.text(node["messages"]?["dropped"]))",
            "",
        ]
        let old = before?.node["shards"]?.array ?? []
        let columns = Column.all
        let rows = shards.enumerated().map { index, shard in
            let then = old.indices.contains(index) ? old[index] : nil
            return columns.map { cell($0, shard, then, before) }
        }
        return Screen(head: lines, columns: columns, rows: rows)
    }

    private func cell(_ column: Column, _ shard: JSONValue, _ old: JSONValue?, _ before: Sample?) -> String {
        switch column {
        case .shard: return Report.text(shard["shard"])
        case .state: return Report.text(shard["state"])
        case .pid: return Report.text(shard["pid"])
        case .connections: return Report.text(shard["connections"])
        case .users: return Report.text(shard["users"])
        case .sent: return rate(shard["messages_sent"], old?["messages_sent"], before)
        case .received: return rate(shard["messages_received"], old?["messages_received"], before)
        case .queued: return Report.size(shard["queue_bytes"])
        case .memory: return Report.size(shard["rss_bytes"])
        case .processor:
            // If the shard has a new worker, there is nothing to subtract.
            guard old?["pid"] == shard["pid"], let before else { return "-" }
            let used = (shard["cpu_seconds"]?.double ?? 0) - (old?["cpu_seconds"]?.double ?? 0)
            return "\(Int((used / max(0.001, elapsed(since: before)) * 100).rounded()))"
        }
    }

    private func rate(_ now: JSONValue?, _ then: JSONValue?, _ before: Sample?) -> String {
        guard let before, let now = now?.double, let then = then?.double else { return "-" }
        return "\(Int((max(0, now - then) / max(0.001, elapsed(since: before))).rounded()))"
    }

    private func elapsed(since before: Sample) -> Double { Double(time - before.time) / 1e9 }
}
