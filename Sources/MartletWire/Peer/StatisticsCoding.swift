// SPDX-License-Identifier: Apache-2.0

package import MartletCore

// The coding of statistics. Lists say how long they are, so that processes of neighbouring versions understand each
// other.

extension ByteWriter {
    mutating func put(_ node: NodeStatistics) {
        put(node.uptimeNanoseconds)
        put(UInt32(clamping: node.threads))
        put(UInt32(clamping: node.jobs))
        put(Int64(node.switchboardRefused))
        put(Int64(node.switchboardRepeated))
        put(Int64(node.switchboardRerouted))
        put(UInt32(node.shards.count))
        for shard in node.shards { put(shard) }
        if let supervisor = node.supervisor { put(supervisor) }
    }

    private mutating func put(_ supervisor: SupervisorStatistics) {
        put([
            Int(clamping: supervisor.cpuNanoseconds), supervisor.residentBytes, supervisor.openDescriptors,
            supervisor.descriptorLimit, Int(supervisor.startedAt),
        ])
        put(UInt32(supervisor.limits.count))
        for limit in supervisor.limits {
            put(limit.key)
            put(Int64(limit.value))
        }
    }

    package mutating func put(_ statistics: ShardStatistics) {
        put(UInt16(statistics.shard))
        put(statistics.pid)
        put(statistics.generation)
        put(statistics.state.rawValue)
        put([
            statistics.connections, statistics.users, statistics.threads, statistics.jobs, statistics.queueBytes,
            statistics.slotsInUse, statistics.residentBytes, statistics.restarts, statistics.httpConnections,
            statistics.openDescriptors, statistics.descriptorLimit, statistics.arenaBytes, statistics.sessionsWaiting,
            statistics.heldBytes,
        ])
        put(statistics.counters)
        put(statistics.cpuNanoseconds)
        put(statistics.lastEnd)
        put(statistics.lastRestart != nil)
        if let restart = statistics.lastRestart {
            put(restart.at)
            put([
                restart.kept, restart.lost, restart.pauseMilliseconds, restart.unrecorded, restart.preparing,
                restart.collecting, restart.recovering,
            ])
        }
        put(statistics.connectionsByUser != nil)
        if let counts = statistics.connectionsByUser {
            put(UInt32(counts.count))
            for (user, count) in counts {
                put(user.text)
                put(UInt32(clamping: count))
            }
        }
    }

    private mutating func put(_ counters: Counters) {
        put(Counter.allCases.map { counters[$0] })
        put(counters.closes)
        put(UInt32(Timing.allCases.count))
        for timing in Timing.allCases {
            let histogram = counters[timing]
            put(histogram.counts.map { Int(clamping: $0) })
            put(histogram.sum)
        }
    }

    private mutating func put(_ numbers: [Int]) {
        put(UInt32(numbers.count))
        for number in numbers { put(Int64(number)) }
    }
}

extension ByteReader {
    mutating func nodeStatistics() throws(WireError) -> NodeStatistics {
        let uptime = try integer(UInt64.self)
        let (threads, jobs) = (try integer(UInt32.self), try integer(UInt32.self))
        let refused = try integer(Int64.self)
        let repeated = try integer(Int64.self)
        let rerouted = try integer(Int64.self)
        var shards: [ShardStatistics] = []
        for _ in 0..<(try count(ofAtLeast: 32)) { shards.append(try shardStatistics()) }
        var node = NodeStatistics(shards: shards, uptimeNanoseconds: uptime, threads: Int(threads), jobs: Int(jobs))
        node.switchboardRefused = Int(refused)
        node.switchboardRepeated = Int(repeated)
        node.switchboardRerouted = Int(rerouted)
        if remaining > 0 { node.supervisor = try supervisorStatistics() }
        return node
    }

    private mutating func supervisorStatistics() throws(WireError) -> SupervisorStatistics {
        let numbers = try numbers(atLeast: 5)
        var limits: [SupervisorStatistics.Limit] = []
        for _ in 0..<(try count(ofAtLeast: 12)) {
            let key = try text()
            limits.append(.init(key: key, value: Self.credible(try integer(Int64.self))))
        }
        return SupervisorStatistics(
            cpuNanoseconds: UInt64(numbers[0]),
            residentBytes: numbers[1],
            openDescriptors: numbers[2],
            descriptorLimit: numbers[3],
            startedAt: Int64(numbers[4]),
            limits: limits
        )
    }

    package mutating func shardStatistics() throws(WireError) -> ShardStatistics {
        var statistics = ShardStatistics()
        statistics.shard = Int(try integer(UInt16.self))
        statistics.pid = try integer()
        statistics.generation = try integer()
        guard let state = ShardState(rawValue: try integer()) else { throw .unknownValue }
        statistics.state = state
        let gauges = try numbers(atLeast: 9)
        statistics.connections = gauges[0]
        statistics.users = gauges[1]
        statistics.threads = gauges[2]
        statistics.jobs = gauges[3]
        statistics.queueBytes = gauges[4]
        statistics.slotsInUse = gauges[5]
        statistics.residentBytes = gauges[6]
        statistics.restarts = gauges[7]
        statistics.httpConnections = gauges[8]
        // Workers of previous versions do not send these.
        if gauges.count > 11 {
            (statistics.openDescriptors, statistics.descriptorLimit) = (gauges[9], gauges[10])
            statistics.arenaBytes = gauges[11]
        }
        if gauges.count > 13 { (statistics.sessionsWaiting, statistics.heldBytes) = (gauges[12], gauges[13]) }
        statistics.counters = try counters()
        statistics.cpuNanoseconds = try integer()
        statistics.lastEnd = try optionalText()
        if try flag() {
            var restart = Restart(at: try integer())
            let counts = try numbers(atLeast: 4)
            (restart.kept, restart.lost, restart.pauseMilliseconds) = (counts[0], counts[1], counts[2])
            restart.unrecorded = counts[3]
            // Previous versions do not measure these.
            if counts.count >= 7 {
                (restart.preparing, restart.collecting, restart.recovering) = (counts[4], counts[5], counts[6])
            }
            statistics.lastRestart = restart
        }
        if try flag() {
            var counts: [ExactText: Int] = [:]
            for _ in 0..<(try count(ofAtLeast: 8)) {
                let user = ExactText(try text())
                counts[user] = Int(try integer(UInt32.self))
            }
            statistics.connectionsByUser = counts
        }
        return statistics
    }

    private mutating func counters() throws(WireError) -> Counters {
        var counters = Counters()
        let values = try numbers(atLeast: 0)
        for counter in Counter.allCases where counter.rawValue < values.count {
            counters[counter] = values[counter.rawValue]
        }
        counters.setCloses(try numbers(atLeast: 0))
        let timings = Int(try integer(UInt32.self))
        guard timings <= 64 else { throw .tooLong }
        for number in 0..<timings {
            let counts = try numbers(atLeast: 0).map { UInt64(clamping: $0) }
            let sum = try integer(UInt64.self)
            if let timing = Timing(rawValue: number), let histogram = Histogram(counts: counts, sum: sum) {
                counters[timing] = histogram
            }
        }
        return counters
    }

    /// Limits a count from another process to what a JSON number can hold (RFC 8259, section 6).
    ///
    /// Then a sum over all shards is a number too.
    private static func credible(_ number: Int64) -> Int { Int(min(max(number, 0), 1 << 53)) }

    private mutating func numbers(atLeast least: Int) throws(WireError) -> [Int] {
        var numbers: [Int] = []
        for _ in 0..<(try count(ofAtLeast: 8)) { numbers.append(Self.credible(try integer(Int64.self))) }
        guard numbers.count >= least else { throw .truncated }
        return numbers
    }
}
