/// The switchboard's memory of requests that shards have not answered yet.
///
/// Every request gets exactly one reply: the shard's, or `shard unavailable` when the shard died or its time ran out.
/// A request to every shard is answered once, with the sum of what the shards said. Bounded by `capacity`.
package struct PendingRequests: Sendable {
    /// Who waits: the requester and the number it gave its request.
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
    }

    fileprivate struct Entry: Sendable {
        var waitingFor: Set<Int>
        var gathered: Gathered
        let deadline: UInt64
    }

    fileprivate enum Gathered: Sendable {
        case nothing
        case receipt(Delivery)
        case statistics([ShardStatistics])
    }

    private var entries: [Key: Entry] = [:]
    private var order: [(key: Key, deadline: UInt64)] = []
    private var orderStart = 0
    private let capacity: Int

    package init(capacity: Int) {
        self.capacity = capacity
    }

    package var count: Int { entries.count }
    package var isFull: Bool { entries.count >= capacity }

    /// The first deadline, in the caller's clock; nil where nothing waits.
    package var nextDeadline: UInt64? {
        orderStart < order.count ? order[orderStart].deadline : nil
    }

    /// Remembers a request. Deadlines must not decrease from call to call.
    package mutating func add(_ key: Key, to shards: Set<Int>, deadline: UInt64) {
        precondition(!shards.isEmpty, "a request goes to somebody")
        entries[key] = Entry(waitingFor: shards, gathered: .nothing, deadline: deadline)
        order.append((key, deadline))
    }

    /// True where the request waits for one shard only, so that its reply can pass through unread.
    package func isSingle(_ key: Key) -> Bool {
        guard let entry = entries[key], case .nothing = entry.gathered else { return false }
        return entry.waitingFor.count == 1
    }

    /// The single shard has answered and its reply was passed through; false where nobody waits for it (any more).
    package mutating func passed(_ key: Key, from shard: Int) -> Bool {
        guard let entry = entries[key], entry.waitingFor == [shard] else { return false }
        forget(key)
        return true
    }

    /// One of several shards has answered; returns the whole answer when it was the last.
    package mutating func gather(_ key: Key, from shard: Int, _ reply: CommandReply) -> Answer? {
        guard var entry = entries[key], entry.waitingFor.remove(shard) != nil else { return nil }
        switch (entry.gathered, reply) {
        case (.nothing, .receipt(let delivery)): entry.gathered = .receipt(delivery)
        case (.nothing, .shard(let statistics)): entry.gathered = .statistics([statistics])
        case (.receipt(var sum), .receipt(let delivery)):
            sum.merge(delivery)
            entry.gathered = .receipt(sum)
        case (.statistics(let list), .shard(let statistics)): entry.gathered = .statistics(list + [statistics])
        default: return fail(key, entry, .failed(failure(of: reply)))
        }
        guard entry.waitingFor.isEmpty else {
            entries[key] = entry
            return nil
        }
        forget(key)
        return Answer(key: key, reply: entry.gathered.reply)
    }

    /// A shard is gone: everything that still waits for it fails.
    package mutating func shardFailed(_ shard: Int) -> [Answer] {
        let affected = entries.filter { $0.value.waitingFor.contains(shard) }
        return affected.map { key, entry in fail(key, entry, .failed(.shardUnavailable(partial: entry.partial))) }
    }

    /// Requests whose deadline has passed.
    package mutating func expire(now: UInt64) -> [Answer] {
        var answers: [Answer] = []
        while orderStart < order.count, order[orderStart].deadline <= now {
            let key = order[orderStart].key
            orderStart += 1
            guard let entry = entries[key], entry.deadline <= now else { continue }
            answers.append(fail(key, entry, .failed(.shardUnavailable(partial: entry.partial))))
        }
        compact()
        return answers
    }

    /// Nobody waits any more for what this requester asked: it is gone.
    package mutating func requesterFailed(_ source: UInt16) {
        for key in entries.keys where key.source == source { entries.removeValue(forKey: key) }
        compact()
    }

    private mutating func fail(_ key: Key, _ entry: Entry, _ reply: CommandReply) -> Answer {
        forget(key)
        return Answer(key: key, reply: reply)
    }

    private func failure(of reply: CommandReply) -> CommandFailure {
        if case .failed(let failure) = reply { return failure }
        return .malformed
    }

    private mutating func forget(_ key: Key) {
        entries.removeValue(forKey: key)
        compact()
    }

    /// Drops what was answered from the front of the order.
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
    /// What the shards that answered have done.
    fileprivate var partial: Delivery? {
        if case .receipt(let delivery) = gathered { return delivery }
        return nil
    }
}

extension PendingRequests.Gathered {
    fileprivate var reply: CommandReply {
        switch self {
        case .nothing: .failed(.malformed)
        case .receipt(let delivery): .receipt(delivery)
        case .statistics(let list):
            .node(NodeStatistics(shards: list.sorted { $0.shard < $1.shard }, uptimeNanoseconds: 0))
        }
    }
}
