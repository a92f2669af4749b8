// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire
import Testing

@testable import MartletSupervisor

@Suite struct HeldRequestsTests {
    private func header(_ source: UInt16, _ number: UInt64) -> PeerHeader {
        PeerHeader(kind: .command, source: source, destination: 0, correlation: number, payloadLength: 100)
    }

    private let payload = [UInt8](repeating: 0, count: 100)

    @Test func `requests are kept in order, up to so many bytes, and for so long`() {
        var held = HeldRequests(capacity: 300, patience: 10)
        // One may go beyond the bound, none comes after it.
        var kept: [Bool] = []
        for number: UInt64 in 0..<4 { kept.append(held.add(header(1, number), payload, now: number)) }
        #expect(kept == [true, true, true, false])
        #expect(held.requests.map(\.header.correlation) == [0, 1, 2])
        #expect(held.nextDeadline == 10)
        let expired = held.expire(now: 11)
        #expect(expired == [.init(source: 1, correlation: 0), .init(source: 1, correlation: 1)])
        #expect(held.requests.map(\.header.correlation) == [2] && held.nextDeadline == 12)
        let isKept = held.add(header(1, 9), payload, now: 20)
        #expect(isKept, "there is room again")
    }

    @Test func `what one process has asked is taken out, and its room is free again`() {
        var held = HeldRequests(capacity: 300, patience: 10)
        var kept: [Bool] = []
        for (number, source): (UInt64, UInt16) in [(0, 5), (1, 7), (2, 5), (3, 7)] {
            kept.append(held.add(header(source, number), payload, now: 0))
        }
        #expect(kept == [true, true, true, false])
        let removed = held.removeAll(from: 5)
        #expect(removed == [.init(source: 5, correlation: 0), .init(source: 5, correlation: 2)])
        #expect(held.requests.map(\.header.correlation) == [1])
        kept = []
        for number: UInt64 in 4...5 { kept.append(held.add(header(7, number), payload, now: 0)) }
        #expect(kept == [true, true])
        let others = held.removeAll(from: 99)
        #expect(others.isEmpty)
    }
}

@Suite struct SplitBatchTests {
    @Test func `the answers of several shards come in the order of the publishes`() {
        var replies: [[CommandReply]] = []
        let batch = SplitBatch { replies.append($0) }
        let text: [UInt8] = Array("{}".utf8)
        for (index, shard) in [2, 0, 2, 1].enumerated() {
            batch.add(Request(.sendToUser("u\(index)")), text.span, to: shard)
        }
        batch.addFailure()
        let parcels = batch.takeParcels()
        #expect(parcels.mapValues(\.numbers) == [2: [0, 2], 0: [1], 1: [3]])
        func receipt(_ number: Int) -> CommandReply {
            .receipt(Delivery(matched: number, delivered: number, failed: 0))
        }
        batch.answered([1], .batch([receipt(1)]))
        batch.answered([0, 2], .batch([receipt(0), receipt(2)]))
        #expect(replies.isEmpty)
        // A shard that could not be asked refuses all of its part with one answer.
        batch.answered([3], .failed(.overloaded))
        #expect(replies == [[receipt(0), receipt(1), receipt(2), .failed(.overloaded), .failed(.malformed)]])
    }

    @Test func `a shard that answers too few, or too many, is not believed for any`() {
        var replies: [[CommandReply]] = []
        let batch = SplitBatch { replies.append($0) }
        let text: [UInt8] = []
        for user in ["a", "b"] { batch.add(Request(.sendToUser(user)), text.span, to: 0) }
        _ = batch.takeParcels()
        batch.answered([0, 1], .batch([.receipt(Delivery())]))
        #expect(replies == [[.failed(.malformed), .failed(.malformed)]])
    }

    @Test func `a batch without anything to send is answered at once`() {
        var replies: [[CommandReply]] = []
        let batch = SplitBatch { replies.append($0) }
        batch.addFailure()
        #expect(batch.takeParcels().isEmpty && replies == [[.failed(.malformed)]])
    }
}
