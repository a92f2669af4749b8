import MartletCore
import MartletWire
import Testing

@testable import MartletWorker

/// What a shard has done, as its successor finds it.
@Suite struct ShardRecordTests {
    private let batch = PeerHeader(kind: .command, source: 1, destination: 0, correlation: 77, payloadLength: 0)

    private func deliver(_ record: ShardRecord, _ note: () -> Void = {}) {
        record.journal.begin()
        note()
        record.journal.commit()
    }

    @Test func `receipts of a batch count each with its own delivery, whatever was done between them`() throws {
        let layout = ArenaLayout(slotCount: 4, pageCount: 16)
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: layout.byteCount, alignment: 4096)
        defer { memory.deallocate() }
        // Memory that another use has left dirty.
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
        // It carries out what its own clients ask, and ends before the batch is asked again.
        for _ in 1...3 { deliver(second) }

        let third = ShardRecord(arena: try successor(memory))
        _ = third.restore(now: 0)
        #expect(third.beginBatch(batch) == [.receipt(receipt)])
        // And another batch has none of these.
        let other = PeerHeader(kind: .command, source: 1, destination: 0, correlation: 78, payloadLength: 0)
        #expect(third.beginBatch(other).isEmpty)
    }

    @Test func `what was answered is known to the same worker under another supervisor`() throws {
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

    private func successor(_ memory: UnsafeMutableRawBufferPointer) throws -> Arena {
        let arena = try Arena(adopting: memory) { _, _ in }
        _ = arena.recover([:])
        return arena
    }
}
