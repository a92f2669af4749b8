internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
internal import MartletWire

struct Top: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows shards, rates, queues and CPU, again every second; q quits."
    )

    @OptionGroup var options: ControlOptions

    func validate() throws {
        if options.json { throw ValidationError("top is for people; for scripts there is: stats --json --watch") }
    }

    func run() throws {
        var client = try options.client()
        guard let terminal = RawTerminal.open() else {
            throw ControlFailure.broken("top needs a terminal; elsewhere use: martletctl stats --watch")
        }
        var before: Sample?
        var shown: [String] = []
        var due = Clock.monotonicNanoseconds()
        while true {
            let now = Clock.monotonicNanoseconds()
            if now >= due {
                let sample = Sample(try client.get("/v1/stats").json(), at: now)
                shown = sample.lines(since: before)
                before = sample
                due = now + 1_000_000_000
            }
            // Drawn once more where only the terminal's size has changed.
            terminal.draw(shown)
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

/// The statistics of one moment.
private struct Sample {
    private let node: JSONValue
    private let time: UInt64

    init(_ node: JSONValue, at time: UInt64) {
        self.node = node
        self.time = time
    }

    /// A screen: the node, then a line for each shard, with what happened since the sample before.
    func lines(since before: Sample?) -> [String] {
        let shards = node["shards"]?.array ?? []
        let serving = shards.count { $0["state"]?.string == "serving" }
        var lines = [
            "Martlet \(Report.text(node["version"]))  up \(Report.uptime(node["uptime_seconds"]))  "
                + "\(serving)/\(shards.count) shards serve",
            "connections \(Report.text(node["total_connections"]))  users \(Report.text(node["unique_users"]))  "
                + "threads \(Report.text(node["threads"]))  jobs \(Report.text(node["jobs"]))",
            "sent/s \(rate(node["messages"]?["sent"], before?.node["messages"]?["sent"], before))  "
                + "received/s \(rate(node["messages"]?["received"], before?.node["messages"]?["received"], before))  "
                + "failed \(Report.text(node["messages"]?["failed"]))  "
                + "dropped \(Report.text(node["messages"]?["dropped"]))",
            "",
        ]
        let header = ["SHARD", "STATE", "PID", "CONNECTIONS", "USERS", "SENT/S", "RECEIVED/S", "QUEUED", "RSS", "CPU%"]
        let rows = shards.enumerated().map { index, shard in
            let old = before?.node["shards"]?.array
            return row(shard, old.flatMap { $0.indices.contains(index) ? $0[index] : nil }, before)
        }
        lines += Report.table([header] + rows).split(separator: "\n").map(String.init)
        return lines + ["", "q quits, space refreshes"]
    }

    private func row(_ shard: JSONValue, _ old: JSONValue?, _ before: Sample?) -> [String] {
        // Of another worker than before nothing can be subtracted.
        let isSame = old?["pid"] == shard["pid"]
        let cpu = (shard["cpu_seconds"]?.double ?? 0) - (old?["cpu_seconds"]?.double ?? 0)
        let share = before.map { cpu / max(0.001, elapsed(since: $0)) * 100 } ?? 0
        return [
            Report.text(shard["shard"]), Report.text(shard["state"]), Report.text(shard["pid"]),
            Report.text(shard["connections"]), Report.text(shard["users"]),
            rate(shard["messages_sent"], old?["messages_sent"], before),
            rate(shard["messages_received"], old?["messages_received"], before),
            Report.size(shard["queue_bytes"]), Report.size(shard["rss_bytes"]),
            isSame ? "\(Int(share.rounded()))" : "-",
        ]
    }

    private func rate(_ now: JSONValue?, _ then: JSONValue?, _ before: Sample?) -> String {
        guard let before, let now = now?.double, let then = then?.double else { return "-" }
        return "\(Int((max(0, now - then) / max(0.001, elapsed(since: before))).rounded()))"
    }

    private func elapsed(since before: Sample) -> Double { Double(time - before.time) / 1e9 }
}
