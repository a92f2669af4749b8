// SPDX-License-Identifier: Apache-2.0

/// The switchboard's memory of requests that shards have not answered yet.
///
/// Every request gets exactly one reply: the shard's, or `shard unavailable` when the shard ended or the time ran out.
/// A request to several shards is answered once, with the sum of what they said. The number of requests is bounded by
/// `capacity`.
package struct PendingRequests: Sendable {
    /// Who waits: the requester, and the number that it gave its request.
    package struct Key: Hashable, Sendable {
        package let source: UInt16
        package let correlation: UInt64

        package init(source: UInt16, correlation: UInt64) {
            self.source = source
            self.correlation = correlation
        }
    }

    /// A request that has its answer.
    package struct Answer: Equatable, Sendable {
        package let key: Key
        package let reply: CommandReply

        package init(key: Key, reply: CommandReply) {
            self.key = key
            self.reply = reply
        }
    }

    /// How the answers of shards become one.
    package enum Mode: Sendable {
        /// One shard answers, and its reply is passed on without being read.
        case single
        /// Receipts are added up; if a shard fails, the request fails.
        case receipts
        /// Statistics are listed; a shard that fails is left out.
        case statistics
    }

    fileprivate struct Entry: Sendable {
        let mode: Mode
        /// The shards that have not answered, one bit for each.
        var waitingFor: UInt128
        var gathered: Gathered
        /// Why one of several shards refused.
        var refusal: CommandFailure?
        let deadline: UInt64
        /// The request as it was sent.
        let frame: [UInt8]
    }

    fileprivate enum Gathered: Sendable {
        case receipt(Delivery)
        case statistics([ShardStatistics])
    }

    private var entries: [Key: Entry] = [:]
    private var order: [(key: Key, deadline: UInt64)] = []
    private var orderStart = 0
    private let capacity: Int
    private let frameCapacity: Int
    /// How many bytes of unanswered requests are kept for each shard, to be sent again if necessary.
    private var frameBytes = [Int](repeating: 0, count: ShardMap.largestShardCount)

    /// Makes an empty memory.
    ///
    /// - Parameters:
    ///   - capacity: The most requests that are remembered.
    ///   - frameCapacity: A shard with more bytes of unanswered requests than this gets no further ones.
    package init(capacity: Int, frameCapacity: Int = .max) {
        self.capacity = capacity
        self.frameCapacity = frameCapacity
    }

    package var count: Int { entries.count }
    package var isFull: Bool { entries.count >= capacity }

    /// Returns true if a shard has too much to answer; each shard has its own limit.
    package func isFull(for shard: Int) -> Bool { frameBytes[shard] > frameCapacity }

    /// The first deadline, in the caller's clock; nil if nothing waits.
    package var nextDeadline: UInt64? {
        orderStart < order.count ? order[orderStart].deadline : nil
    }

    /// Remembers a request.
    ///
    /// Deadlines must not decrease from call to call. `frame` is what ``frames(for:)`` gives back while it is unanswered.
    package mutating func add(_ key: Key, to shards: [Int], mode: Mode, deadline: UInt64, frame: [UInt8] = []) {
        precondition(!shards.isEmpty, "a request goes to somebody")
        let bits = shards.reduce(UInt128(0)) { $0 | 1 << UInt128($1) }
        let gathered: Gathered = mode == .statistics ? .statistics([]) : .receipt(Delivery())
        // A requester that uses a number twice gets an answer to the second request only.
        if let old = entries[key] { count(old, old.waitingFor, -1) }
        let entry = Entry(mode: mode, waitingFor: bits, gathered: gathered, deadline: deadline, frame: frame)
        entries[key] = entry
        count(entry, bits, 1)
        order.append((key, deadline))
    }

    /// Returns the requests that a shard has not answered yet, in order, so that its next worker gets them again.
    package func frames(for shard: Int) -> [[UInt8]] {
        let bit: UInt128 = 1 << UInt128(shard)
        return order[orderStart...].compactMap { place in
            guard let entry = entries[place.key], entry.waitingFor & bit != 0 else { return nil }
            return entry.frame
        }
    }

    /// Returns how a request is answered; nil if nobody waits for its answer (any more).
    package func mode(of key: Key) -> Mode? { entries[key]?.mode }

    /// Notes that the only shard of a request has answered; false if nobody waits for an answer from that shard.
    package mutating func passed(_ key: Key, from shard: Int) -> Bool {
        guard let entry = entries[key], entry.waitingFor == 1 << UInt128(shard) else { return false }
        forget(key)
        return true
    }

    /// Notes the reply of one of several shards, and returns the whole answer if it was the last.
    package mutating func gather(_ key: Key, from shard: Int, _ reply: CommandReply) -> Answer? {
        let bit: UInt128 = 1 << UInt128(shard)
        guard var entry = entries[key], entry.waitingFor & bit != 0 else { return nil }
        answered(key, &entry, bit)
        switch (entry.gathered, reply) {
        case (.receipt(var sum), .receipt(let delivery)):
            sum.merge(delivery)
            entry.gathered = .receipt(sum)
        case (.statistics(let list), .shard(let statistics)): entry.gathered = .statistics(list + [statistics])
        // The other shards may have carried out the request: the answer says what they did.
        case (_, .failed(let failure)): entry.refusal = failure
        default: entry.refusal = .malformed
        }
        return settle(key, entry)
    }

    /// Ends all waiting for a shard that is gone: those requests fail, or are answered without it.
    package mutating func shardFailed(_ shard: Int) -> [Answer] {
        let bit: UInt128 = 1 << UInt128(shard)
        var answers: [Answer] = []
        for (key, entry) in entries where entry.waitingFor & bit != 0 {
            guard entry.mode == .statistics else {
                answers.append(answer(key, entry.failure))
                continue
            }
            var entry = entry
            answered(key, &entry, bit)
            if let answer = settle(key, entry) { answers.append(answer) }
        }
        return answers
    }

    /// Ends the requests whose deadline has passed, and returns their answers.
    package mutating func expire(now: UInt64) -> [Answer] {
        var answers: [Answer] = []
        while orderStart < order.count, order[orderStart].deadline <= now {
            let key = order[orderStart].key
            orderStart += 1
            guard let entry = entries[key], entry.deadline <= now else { continue }
            answers.append(answer(key, entry.failure))
        }
        compact()
        return answers
    }

    /// Keeps a request that still waits for some shard, or answers it.
    private mutating func settle(_ key: Key, _ entry: Entry) -> Answer? {
        guard entry.waitingFor == 0 else {
            entries[key] = entry
            return nil
        }
        guard let refusal = entry.refusal else { return answer(key, entry.gathered.reply) }
        if case .receipt(let sum) = entry.gathered, sum.matched > 0 {
            return answer(key, .failed(.shardUnavailable(partial: sum)))
        }
        return answer(key, .failed(refusal))
    }

    private mutating func answer(_ key: Key, _ reply: CommandReply) -> Answer {
        forget(key)
        return Answer(key: key, reply: reply)
    }

    private mutating func forget(_ key: Key) {
        if let entry = entries.removeValue(forKey: key) { count(entry, entry.waitingFor, -1) }
        compact()
    }

    /// Notes that one of the shards that were asked has nothing more to answer.
    private mutating func answered(_ key: Key, _ entry: inout Entry, _ bit: UInt128) {
        count(entry, bit, -1)
        entry.waitingFor &= ~bit
        entries[key] = entry
    }

    private mutating func count(_ entry: Entry, _ shards: UInt128, _ sign: Int) {
        var rest = shards
        while rest != 0 {
            frameBytes[rest.trailingZeroBitCount] += sign * entry.frame.count
            rest &= rest - 1
        }
    }

    /// Drops answered requests from the front of the order.
    private mutating func compact() {
        while orderStart < order.count, entries[order[orderStart].key] == nil { orderStart += 1 }
        if orderStart == order.count {
            order.removeAll(keepingCapacity: order.capacity <= 4096)
            orderStart = 0
        } else if orderStart > 1024, orderStart * 2 > order.count {
            order.removeFirst(orderStart)
            orderStart = 0
        }
    }
}

extension PendingRequests.Entry {
    /// The answer if some shard does not answer; it says what the others did.
    fileprivate var failure: CommandReply {
        switch (mode, gathered) {
        case (.statistics, _): gathered.reply
        case (.receipts, .receipt(let delivery)): .failed(.shardUnavailable(partial: delivery))
        default: .failed(.shardUnavailable(partial: nil))
        }
    }
}

extension PendingRequests.Gathered {
    fileprivate var reply: CommandReply {
        switch self {
        case .receipt(let delivery): .receipt(delivery)
        case .statistics(let list):
            .node(NodeStatistics(shards: list.sorted { $0.shard < $1.shard }, uptimeNanoseconds: 0))
        }
    }
}
