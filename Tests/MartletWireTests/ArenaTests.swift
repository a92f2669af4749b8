// SPDX-License-Identifier: Apache-2.0

import MartletWire
import Testing

/// Memory for an arena, which a test owns.
final class ArenaFixture {
    let memory: UnsafeMutableRawBufferPointer
    let arena: Arena
    /// The ranges that the arena has given back.
    let discarded: Discarded

    final class Discarded {
        var ranges: [Range<Int>] = []
    }

    init(slots: Int = 16, pages: Int = 40) throws {
        let layout = ArenaLayout(slotCount: slots, pageCount: pages)
        memory = .allocate(byteCount: layout.byteCount, alignment: 4096)
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        let discarded = Discarded()
        self.discarded = discarded
        arena = try Arena(formatting: memory, layout: layout, shard: 1, generation: 7) {
            discarded.ranges.append($0..<$0 + $1)
        }
    }

    deinit { memory.deallocate() }
}

@Suite struct ArenaTests {
    @Test func `the header says what the arena is, and every damage to it is found`() throws {
        let fixture = try ArenaFixture()
        let bytes = Array(fixture.memory.prefix(4096))
        let header = try ArenaHeader(bytes, memorySize: fixture.memory.count)
        #expect(header == ArenaHeader(layout: fixture.arena.layout, shard: 1, generation: 7))
        for index in 0..<44 {
            var damaged = bytes
            damaged[index] ^= 0x10
            #expect(throws: ArenaError.self) { try ArenaHeader(damaged, memorySize: fixture.memory.count) }
        }
        #expect(throws: ArenaError.wrongSize) { try ArenaHeader(bytes, memorySize: fixture.memory.count - 1) }
        #expect(throws: ArenaError.wrongSize) { try ArenaHeader([], memorySize: 0) }
    }

    @Test func `the parts do not overlap`() {
        let layout = ArenaLayout(slotCount: 1000, pageCount: 10)
        #expect(layout.landingOffset >= ArenaLayout.headerSize)
        #expect(layout.slotsOffset >= layout.landingOffset + ArenaLayout.landingSize)
        #expect(layout.chunksOffset >= layout.slotsOffset + 1000 * ArenaLayout.slotSize)
        #expect(layout.chunksOffset % ArenaLayout.pageSize == 0)
        #expect(ArenaSlot.Field.inlineQueue + 8 * ArenaSlot.inlineQueueCapacity <= ArenaLayout.slotSize)
        #expect(ArenaSlot.Field.receiving + 48 <= ArenaSlot.Field.reader)
    }

    @Test func `slots are claimed, reused with another generation, and run out honestly`() throws {
        let fixture = try ArenaFixture(slots: 3)
        let claimed = (0..<4).map { _ in fixture.arena.claimSlot() }
        #expect(claimed == [0, 1, 2, nil])
        let before = fixture.arena.slot(1).generation
        fixture.arena.vacate(1)
        #expect(fixture.arena.claimSlot() == 1)
        #expect(fixture.arena.slot(1).generation == before + 1)
        #expect(fixture.arena.slotsInUse == 3)
    }

    @Test func `an identity is read back, and a damaged one is refused`() throws {
        let fixture = try ArenaFixture()
        let index = try #require(fixture.arena.claimSlot())
        let slot = fixture.arena.slot(index)
        slot.cookie = 99
        var bearer = Bearer(user: "用户1")
        bearer.threads = ["t"]
        bearer.metadata = "{}"
        let identity = ArenaIdentity(connection: "c", bearer: bearer)
        #expect(fixture.arena.setIdentity(identity, of: slot))
        #expect(try fixture.arena.identity(ofSlot: index) == identity)
        let inUse = fixture.arena.chunkBytesInUse
        for _ in 0..<100 { #expect(fixture.arena.setIdentity(identity, of: slot)) }
        #expect(fixture.arena.chunkBytesInUse == inUse, "a renewed identity takes the old one's place")
        let damages: [() -> Void] = [
            { slot.cookie = 98 }, { slot.identity += 1 }, { slot.identity = .max }, { slot.connectedAt += 1 },
            { slot.identity = 0 }, { slot.generation += 1 },
        ]
        let saved = Array(
            UnsafeRawBufferPointer(rebasing: fixture.memory[fixture.arena.layout.slotsOffset...]).prefix(256)
        )
        for damage in damages {
            damage()
            #expect(throws: ArenaError.damagedSlot(index)) { try fixture.arena.identity(ofSlot: index) }
            UnsafeMutableRawBufferPointer(rebasing: fixture.memory[fixture.arena.layout.slotsOffset...]).copyBytes(
                from: saved
            )
        }
    }

    @Test func `a queue keeps its order while it grows out of the slot and back`() throws {
        let fixture = try ArenaFixture()
        let arena = fixture.arena
        let slot = arena.slot(try #require(arena.claimSlot()))
        var expected: [UInt32] = []
        var generator = SystemRandomNumberGenerator()
        for step in 0..<5000 {
            if Int.random(in: 0..<100, using: &generator) < (step % 1000 < 500 ? 60 : 35) {
                let frame = try #require(arena.makeFrame(10))
                #expect(arena.append(frame, byteCount: 10, to: slot))
                arena.release(frame)
                expected.append(frame)
            } else if let first = arena.first(of: slot) {
                #expect(first.frame == expected.removeFirst())
                #expect(!arena.didSendFirst(of: slot), "only a session keeps what was sent")
            }
            #expect(arena.queueCount(of: slot) == expected.count)
            #expect(Int(slot.queuedBytes) == expected.count * 10)
        }
        arena.vacate(0)
        #expect(arena.chunkBytesInUse == 0)
    }

    @Test func `a frame lives until the last queue has released it`() throws {
        let fixture = try ArenaFixture()
        let arena = fixture.arena
        let slots = (0..<5).compactMap { _ in arena.claimSlot() }
        let frame = try #require(arena.makeFrame(1000))
        for slot in slots { #expect(arena.append(frame, byteCount: 1000, to: arena.slot(slot))) }
        arena.release(frame)
        for slot in slots.dropLast() { arena.vacate(slot) }
        #expect(arena.chunkBytesInUse > 0)
        arena.vacate(slots[4])
        #expect(arena.chunkBytesInUse == 0)
    }

    @Test func `the memory of a large wave of connections is given back`() throws {
        let fixture = try ArenaFixture(slots: 4000, pages: 100)
        let arena = fixture.arena
        for _ in 0..<4000 {
            let slot = arena.slot(try #require(arena.claimSlot()))
            #expect(arena.setIdentity(ArenaIdentity(connection: "c", bearer: Bearer(user: "u")), of: slot))
        }
        for slot in 0..<4000 { arena.vacate(slot) }
        let slots = arena.layout.slotsOffset..<arena.layout.slotsOffset + 4000 * 256
        #expect(fixture.discarded.ranges.contains { slots.contains($0.lowerBound) && $0.count > slots.count - 8192 })
        #expect(arena.slotsInUse == 0 && arena.chunkBytesInUse == 0)
        #expect(arena.claimSlot() != nil)
    }
}

@Suite struct ChunkAllocatorTests {
    @Test func `chunks never overlap, have the size asked for, and all come back`() throws {
        let pages = 64
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: pages * ArenaLayout.pageSize, alignment: 4096)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        let base = try #require(memory.baseAddress)
        var allocator = ChunkAllocator(base: base, pageCount: pages)
        var taken: [UInt32: Int] = [:]
        var generator = SystemRandomNumberGenerator()
        let sizes = [1, 64, 65, 100, 112, 128, 129, 1000, 5000, 70_000, 131_072, 200_000, 262_144, 600_000]
        for _ in 0..<20_000 {
            if Bool.random(using: &generator) || taken.isEmpty {
                let size = sizes.randomElement(using: &generator) ?? 1
                guard let chunk = allocator.allocate(size) else { continue }
                #expect(allocator.capacity(of: chunk) >= size)
                let range = Int(chunk) * ArenaLayout.chunkUnit..<Int(chunk) * ArenaLayout.chunkUnit + size
                #expect(chunk != 0 && range.upperBound <= memory.count)
                // Both ends of the chunk are stamped with its name; a changed stamp would mean an overlap.
                for offset in [0, size - 1] {
                    (base + range.lowerBound + offset).storeBytes(of: UInt8(chunk & 0xFF), as: UInt8.self)
                }
                #expect(taken[chunk] == nil)
                taken[chunk] = size
            } else if let (chunk, size) = taken.randomElement(using: &generator) {
                for offset in [0, size - 1] {
                    #expect(
                        (base + Int(chunk) * ArenaLayout.chunkUnit + offset).load(as: UInt8.self) == UInt8(chunk & 0xFF)
                    )
                }
                allocator.free(chunk)
                taken[chunk] = nil
            }
        }
        for chunk in taken.keys { allocator.free(chunk) }
        #expect(allocator.bytesInUse == 0)
        let largest = (pages - 1) * ArenaLayout.pageSize
        expect(allocator.allocate(largest) != nil, "everything is one piece again")
        expect(allocator.allocate(ArenaLayout.pageSize) == nil, "and then it is full")
    }

    @Test func `a large piece that comes and goes leaves no trace`() throws {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 * ArenaLayout.pageSize, alignment: 4096)
        defer { memory.deallocate() }
        var allocator = ChunkAllocator(base: try #require(memory.baseAddress), pageCount: 8)
        for _ in 0..<1000 {
            let (large, small) = (allocator.allocate(3 * ArenaLayout.pageSize), allocator.allocate(10))
            allocator.free(try #require(large))
            allocator.free(try #require(small))
        }
        #expect(allocator.bytesInUse == 0)
    }
}
