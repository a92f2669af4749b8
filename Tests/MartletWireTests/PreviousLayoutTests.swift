// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

@testable import MartletWire

/// Memory that the version before has laid out: an heir copies from it, and nobody goes on in it.
@Suite struct PreviousLayoutTests {
    /// A shard of layout 6, written as that version wrote it: chunks have units of 128 bytes, identities no tokens.
    private final class Previous {
        let memory: UnsafeMutableRawBufferPointer
        let layout = ArenaLayout(slotCount: 4, pageCount: 4, version: ArenaLayout.previousVersion)

        init() {
            memory = .allocate(byteCount: layout.byteCount, alignment: 4096)
            memory.initializeMemory(as: UInt8.self, repeating: 0)
            memory.copyBytes(from: ArenaHeader(layout: layout, shard: 0, generation: 3).bytes)
            store(UInt32(2), at: 108)  // slots that were used
        }

        deinit { memory.deallocate() }

        func store<Value: BitwiseCopyable>(_ value: Value, at offset: Int) {
            memory.storeBytes(of: value, toByteOffset: offset, as: Value.self)
        }

        func store(_ bytes: [UInt8], at offset: Int) {
            for (index, byte) in bytes.enumerated() { memory[offset + index] = byte }
        }

        func place(ofChunk chunk: Int) -> Int { layout.chunksOffset + 128 * chunk }

        /// Writes a connection of a user with two frames of 5 bytes, of which 7 bytes were sent.
        func connect(slot: Int, user: String, identityChunk: Int, frameChunks: [Int]) {
            let start = layout.slotsOffset + 256 * slot
            var writer = ByteWriter()
            writer.put("connection-\(slot)")
            writer.put(Bearer(user: user))
            writer.put(UInt32(1))
            writer.put(Room.thread("t"))
            let identity = writer.bytes
            var seed = ByteWriter()
            seed.put(UInt32(9))  // generation
            seed.put(UInt64(70 + slot))  // cookie
            seed.put(Int64(5))  // connected at
            let checksum = Checksum.crc32(identity, startingWith: Checksum.crc32(seed.bytes))
            let chunk = place(ofChunk: identityChunk)
            store(UInt32(identity.count), at: chunk)
            store(checksum, at: chunk + 4)
            store(identity, at: chunk + 8)
            for (number, frame) in frameChunks.enumerated() {
                store(UInt32(1), at: place(ofChunk: frame))
                store(UInt32(5), at: place(ofChunk: frame) + 4)
                store([0x81, 3] + Array("\(number)\(number)\(number)".utf8), at: place(ofChunk: frame) + 8)
                store(UInt64(5) << 32 | UInt64(frame), at: start + 192 + 8 * number)
            }
            store(UInt32(1), at: start)  // open
            store(UInt32(9), at: start + 4)
            store(UInt64(70 + slot), at: start + 8)
            store(Int64(5), at: start + 16)
            store(UInt32(identityChunk), at: start + 24)
            store(UInt32(frameChunks.count), at: start + 40)  // tail
            store(UInt64(4) << 32, at: start + 48)  // the queue is in the slot
            store(UInt64(7), at: start + 56)  // sent
            store(UInt64(1000), at: start + 80 + 16)  // read
            store(UInt16(ShardMap.userSlot(of: user)), at: start + 190)
        }
    }

    private func adopt(_ previous: Previous) throws(ArenaError) -> Arena {
        try Arena(adopting: previous.memory, isSource: true) { _, _ in }
    }

    @Test func `its connections are copied with their rooms and what was not sent`() throws {
        let previous = Previous()
        previous.connect(slot: 1, user: "u", identityChunk: 2049, frameChunks: [1, 3])
        let source = try adopt(previous)
        #expect(source.occupied == [.init(slot: 1, cookie: 71)] && source.waitingSlots == [])
        let target = try ArenaFixture(slots: 4, pages: 4)
        let limits = ArenaImport.Limits(messageBytes: 1000, queueBytes: 1000, allowsEchoes: false)
        let copies = ArenaImport(from: source, to: target.arena, limits: limits) { _ in true }
        let index = try #require(try copies.copy(1, .init(written: 7, read: 1000), place: { $0 }))
        copies.finish()
        let slot = target.arena.slot(index)
        let identity = ArenaIdentity(connection: "connection-1", bearer: Bearer(user: "u"), rooms: [.thread("t")])
        #expect(try target.arena.identity(ofSlot: index) == identity)
        #expect(slot.state == .open && slot.cookie == 71 && slot.sentPosition == 7 && !slot.flags.contains(.session))
        // The first frame was sent, and two bytes of the second one.
        #expect(target.arena.queueCount(of: slot) == 1 && slot.sentPosition - slot.headPosition == 2)
        let frame = try #require(target.arena.first(of: slot)).frame
        #expect(Array(target.arena.frameBytes(frame)) == [0x81, 3] + Array("111".utf8))
        #expect(throws: ArenaError.self) { try copies.copySession(1, now: 1) }
    }

    @Test func `nobody goes on in it, and what is not its layout is refused`() throws {
        let previous = Previous()
        #expect(throws: ArenaError.wrongVersion(6)) { try Arena(adopting: previous.memory) { _, _ in } }
        #expect(!ArenaHeader.isCurrent(Array(previous.memory.prefix(64))))
        previous.connect(slot: 0, user: "u", identityChunk: 2049, frameChunks: [1])
        previous.store(UInt32(1) << 20, at: previous.layout.slotsOffset + 24)
        let source = try adopt(previous)
        #expect(throws: ArenaError.self) { try source.identity(ofSlot: 0) }
        let older = ArenaHeader(layout: .init(slotCount: 4, pageCount: 4, version: 5), shard: 0, generation: 1)
        previous.memory.copyBytes(from: older.bytes)
        #expect(throws: ArenaError.wrongVersion(5)) { try adopt(previous) }
    }
}
