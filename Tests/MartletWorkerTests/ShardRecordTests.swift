// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire
import Testing

@testable import MartletWorker

/// A successor finds what a shard has done.
@Suite struct ShardRecordTests {
    private let batch = PeerHeader(kind: .command, source: 1, destination: 0, correlation: 77, payloadLength: 0)

    private func deliver(_ record: ShardRecord, _ note: () -> Void = {}) {
        record.journal.begin()
        note()
        record.journal.commit()
    }

    @Test func `each receipt of a batch becomes valid with its own delivery, whatever was done in between`() throws {
        let layout = ArenaLayout(slotCount: 4, pageCount: 16)
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: layout.byteCount, alignment: 4096)
        defer { memory.deallocate() }
        // The memory is dirty from another use.
        memory.initializeMemory(as: UInt8.self, repeating: 0xFF)
        UnsafeMutableRawBufferPointer(rebasing: memory[..<layout.chunksOffset])
            .initializeMemory(as: UInt8.self, repeating: 0)
        let arena = try Arena(formatting: memory, layout: layout, shard: 0, generation: 1) { _, _ in }
        let first = ShardRecord(arena: arena)
        #expect(first.beginBatch(batch).isEmpty)
        var receipt = Delivery()
        receipt.matched = 1
        deliver(first) { first.noteBatch(.receipt(receipt), at: 0) }
        // The worker ends in the middle of the second publish.
        first.journal.begin()
        first.noteBatch(.receipt(receipt), at: 1)

        let second = ShardRecord(arena: try successor(memory))
        _ = second.restore(now: 0)
        // The second worker carries out requests of its own clients, and ends before the batch is asked for again.
        for _ in 1...3 { deliver(second) }

        let third = ShardRecord(arena: try successor(memory))
        _ = third.restore(now: 0)
        #expect(third.beginBatch(batch) == [.receipt(receipt)])
        // Another batch has none of these receipts.
        let other = PeerHeader(kind: .command, source: 1, destination: 0, correlation: 78, payloadLength: 0)
        #expect(third.beginBatch(other).isEmpty)
    }

    @Test func `a worker still knows its answers under another supervisor`() throws {
        let layout = ArenaLayout(slotCount: 4, pageCount: 16)
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: layout.byteCount, alignment: 4096)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        let record = ShardRecord(
            arena: try Arena(formatting: memory, layout: layout, shard: 0, generation: 1) { _, _ in }
        )
        var receipt = Delivery()
        receipt.matched = 2
        deliver(record) { record.remember(.receipt(receipt), for: batch) }
        #expect(record.answer(to: batch) == nil)
        record.remindOfAnswers()
        let known = try #require(record.answer(to: batch))
        #expect(try CommandCoding.decodeReply(known, in: 0..<known.count) == .receipt(receipt))
        record.forgetInherited()
        #expect(record.answer(to: batch) == nil)
    }

    @Test func `an answer for several users keeps its sum, however often the number of shards changes`() throws {
        let layout = ArenaLayout(slotCount: 4, pageCount: 16)
        var memories: [UnsafeMutableRawBufferPointer] = []
        defer { for memory in memories { memory.deallocate() } }
        func arena() throws -> Arena {
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: layout.byteCount, alignment: 4096)
            memory.initializeMemory(as: UInt8.self, repeating: 0)
            memories.append(memory)
            return try Arena(formatting: memory, layout: layout, shard: 0, generation: 1) { _, _ in }
        }
        /// Returns what a shard remembers under a name.
        func matched(_ record: ShardRecord, _ name: String) -> Int? {
            guard case .known(let answer) = record.answers.find(name, fingerprint: 9, now: 1),
                case .receipt(let delivery) = answer.reply
            else { return nil }
            return delivery.matched
        }
        // There are three shards, which know their own parts; the third one has not been asked.
        var arenas = try (0..<3).map { _ in try arena() }
        for (number, arena) in arenas.prefix(2).enumerated() {
            let record = ShardRecord(arena: arena)
            for (name, slot) in [("several a", nil), ("one b", number)] as [(String, Int?)] {
                deliver(record) {
                    let reply = CommandReply.receipt(Delivery(matched: number + 2))
                    record.answers.remember(
                        reply,
                        key: name,
                        fingerprint: 9,
                        delivery: record.journal.begun,
                        slot: slot,
                        now: 0
                    )
                }
            }
        }
        for count in [1, 2, 4, 3, 1] {
            let next = try (0..<count).map { shard in
                let arena = try arena()
                let record = ShardRecord(arena: arena)
                for source in arenas {
                    _ = try record.gather(from: source, isFirst: shard == 0) { $0 % count == shard }
                }
                #expect(matched(record, "several a") == (shard == 0 ? 5 : 0), "shard \(shard) of \(count)")
                return (arena, record)
            }
            let ones = next.compactMap { matched($0.1, "one b") }
            #expect(ones.count == min(2, count), "each where its user is")
            arenas = next.map(\.0)
        }
    }

    private func successor(_ memory: UnsafeMutableRawBufferPointer) throws -> Arena {
        let arena = try Arena(adopting: memory) { _, _ in }
        _ = arena.recover([:])
        return arena
    }
}
