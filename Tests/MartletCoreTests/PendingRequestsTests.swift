// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

@Suite struct PendingRequestsTests {
    private var pending = PendingRequests(capacity: 3)
    private let one = PendingRequests.Key(source: 0, correlation: 1)
    private let two = PendingRequests.Key(source: 1, correlation: 1)

    @Test mutating func `a request to one shard is answered by that shard, once`() {
        pending.add(one, to: [1], mode: .single, deadline: 10)
        #expect(pending.mode(of: one) == .single)
        expect(!pending.passed(one, from: 0), "another shard cannot answer")
        expect(pending.passed(one, from: 1))
        expect(!pending.passed(one, from: 1), "nor the same one twice")
        #expect(pending.count == 0)
    }

    @Test mutating func `the receipts of all shards are added up`() {
        pending.add(one, to: [0, 1, 2], mode: .receipts, deadline: 10)
        expect(pending.gather(one, from: 2, .receipt(Delivery(matched: 2, delivered: 1, failed: 1))) == nil)
        expect(pending.gather(one, from: 2, .receipt(Delivery(matched: 9))) == nil, "a second answer does not count")
        expect(pending.gather(one, from: 0, .receipt(Delivery())) == nil)
        let last = pending.gather(one, from: 1, .receipt(Delivery(matched: 1, delivered: 1)))
        #expect(last == .init(key: one, reply: .receipt(Delivery(matched: 3, delivered: 2, failed: 1))))
    }

    @Test mutating func `when a shard dies, requests that wait for it fail, and the answer says what the others did`() {
        pending.add(one, to: [0, 1], mode: .receipts, deadline: 10)
        pending.add(two, to: [1], mode: .single, deadline: 10)
        _ = pending.gather(one, from: 0, .receipt(Delivery(matched: 4, delivered: 4)))
        let answers = pending.shardFailed(1)
        #expect(answers.count == 2)
        let partial = Delivery(matched: 4, delivered: 4)
        #expect(answers.contains(.init(key: one, reply: .failed(.shardUnavailable(partial: partial)))))
        #expect(answers.contains(.init(key: two, reply: .failed(.shardUnavailable(partial: nil)))))
        #expect(pending.count == 0)
    }

    @Test mutating func `a shard that refuses does not hide what the others did`() {
        pending.add(one, to: [0, 1], mode: .receipts, deadline: 10)
        _ = pending.gather(one, from: 0, .receipt(Delivery(matched: 4, delivered: 4)))
        let answer = pending.gather(one, from: 1, .failed(.overloaded))
        #expect(answer?.reply == .failed(.shardUnavailable(partial: Delivery(matched: 4, delivered: 4))))
    }

    @Test mutating func `statistics are completed without a shard that dies`() {
        var statistics = ShardStatistics()
        statistics.shard = 1
        pending.add(one, to: [0, 1], mode: .statistics, deadline: 10)
        expect(pending.gather(one, from: 1, .shard(statistics)) == nil)
        guard case .node(let node) = pending.shardFailed(0).first?.reply else {
            Issue.record("no statistics")
            return
        }
        #expect(node.shards == [statistics])
    }

    @Test mutating func `a request whose time has run out is answered once`() {
        pending.add(one, to: [0], mode: .single, deadline: 10)
        pending.add(two, to: [0], mode: .single, deadline: 20)
        #expect(pending.nextDeadline == 10)
        expect(pending.expire(now: 9).isEmpty)
        expect(pending.expire(now: 10).map(\.key) == [one])
        #expect(pending.nextDeadline == 20)
        expect(!pending.passed(one, from: 0))
    }

    @Test mutating func `the next worker of a shard gets what the previous one has not answered, in order`() {
        pending.add(one, to: [0, 1], mode: .receipts, deadline: 10, frame: [1])
        pending.add(two, to: [1], mode: .single, deadline: 10, frame: [2])
        #expect(pending.frames(for: 1) == [[1], [2]])
        #expect(pending.frames(for: 0) == [[1]])
        _ = pending.gather(one, from: 0, .receipt(Delivery()))
        #expect(pending.frames(for: 0).isEmpty)
        #expect(pending.frames(for: 1) == [[1], [2]])
        expect(pending.passed(two, from: 1))
        #expect(pending.frames(for: 1) == [[1]])
    }

    @Test func `a shard that does not answer takes no further requests, and the others take theirs`() {
        var pending = PendingRequests(capacity: 1000, frameCapacity: 100)
        var number: UInt64 = 0
        func key() -> PendingRequests.Key {
            number += 1
            return .init(source: 0, correlation: number)
        }
        let frame = [UInt8](repeating: 0, count: 60)
        let (first, second, both) = (key(), key(), key())
        pending.add(first, to: [1], mode: .single, deadline: 10, frame: frame)
        pending.add(both, to: [1, 2], mode: .receipts, deadline: 10, frame: frame)
        #expect(pending.isFull(for: 1) && !pending.isFull(for: 2) && !pending.isFull(for: 0) && !pending.isFull)
        pending.add(second, to: [2], mode: .single, deadline: 10, frame: frame)
        #expect(pending.isFull(for: 2))
        expect(pending.gather(both, from: 2, .receipt(Delivery())) == nil)
        #expect(pending.isFull(for: 1) && !pending.isFull(for: 2))
        _ = pending.expire(now: 10)
        #expect(!pending.isFull(for: 1))
        // Nothing is left over, whatever way a request ended.
        pending.add(first, to: [1, 2], mode: .statistics, deadline: 20, frame: frame)
        pending.add(first, to: [1, 2], mode: .statistics, deadline: 20, frame: frame)
        _ = pending.shardFailed(1)
        _ = pending.shardFailed(2)
        pending.add(key(), to: [1, 2], mode: .single, deadline: 20, frame: [UInt8](repeating: 0, count: 100))
        #expect(!pending.isFull(for: 1) && !pending.isFull(for: 2) && pending.count == 1)
    }

    @Test mutating func `its size is bounded`() {
        for number in 0..<3 {
            #expect(!pending.isFull)
            pending.add(.init(source: 0, correlation: UInt64(number)), to: [0], mode: .single, deadline: 1)
        }
        #expect(pending.isFull)
    }
}

@Suite struct ConfigurationTests {
    @Test func `the defaults can be used`() throws {
        #expect(Configuration().problems == [])
        #expect(Configuration.development.problems == [])
    }

    @Test func `an impossible value names its key`() {
        var configuration = Configuration()
        configuration.workers = 0
        #expect(configuration.problems == [ConfigurationError(key: "workers", why: "must be `auto` or 1 to 128")])
        configuration.client.queueBytes = 1
        #expect(configuration.problems.map(\.key) == ["workers", "client.queue_bytes"])
    }

    @Test func `every close reason has advice that fits into a close frame, and its own code`() {
        #expect(CloseReason.allCases.allSatisfy { (1...123).contains($0.advice.utf8.count) })
        #expect(Set(CloseReason.allCases.map(\.code)).count == CloseReason.allCases.count)
    }
}
