// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A shard's shared memory: the state of its connections, which outlives the process that serves them.
///
/// Slots say who is connected and how far each stream has come; chunks hold bytes: identities, received pieces, frames.
/// A frame is complete here before its first byte is sent, and is stored once, however many connections it goes to. An
/// arena lives on one thread; its memory stays mapped for as long as it lives.
@safe
package final class Arena {
    /// The bytes before a frame in its chunk, which say how many queues hold it, and its length.
    static let frameHead = 8

    package let layout: ArenaLayout
    let memory: UnsafeMutableRawBufferPointer
    let base: UnsafeMutableRawPointer
    let chunks: UnsafeMutableRawPointer
    /// What a chunk's name is multiplied by, as a power of two.
    private let unitShift: Int
    var allocator: ChunkAllocator
    var generations: [UInt32] = []
    var vacant: [Int32] = []
    var highestSlots = 0
    /// Gives a range of the memory back to the system.
    private let discard: (_ offset: Int, _ count: Int) -> Void

    /// Slots that hold a connection.
    package internal(set) var slotsInUse = 0
    /// What is being done, and what has been done: the part of the arena that decides what must be done again.
    package let journal: ArenaJournal

    /// Lays out memory that is all zero: `layout.byteCount` bytes, shared.
    ///
    /// `discard` is called with page-aligned ranges whose contents are not needed any more.
    @unsafe
    package init(
        formatting memory: UnsafeMutableRawBufferPointer,
        layout: ArenaLayout,
        shard: UInt16,
        generation: UInt32,
        discard: @escaping (_ offset: Int, _ count: Int) -> Void
    ) throws(ArenaError) {
        guard let base = memory.baseAddress, memory.count >= layout.byteCount else { throw .wrongSize }
        self.layout = layout
        unitShift = layout.chunkUnit.trailingZeroBitCount
        unsafe self.memory = memory
        unsafe self.base = base
        unsafe chunks = base + layout.chunksOffset
        unsafe allocator = ChunkAllocator(base: base + layout.chunksOffset, pageCount: layout.pageCount)
        self.discard = discard
        unsafe journal = ArenaJournal(base: base, ring: base + layout.ringOffset)
        let header = ArenaHeader(layout: layout, shard: shard, generation: generation).bytes
        unsafe memory.copyBytes(from: header)
    }

    /// Takes over the memory that another worker has left; nothing is changed before ``recover(_:)``.
    ///
    /// Nothing in the memory is trusted: the header is checked here, and every slot later. With `isSource`, connections
    /// are only copied from it (``ArenaImport``), and it may have the layout of the version before.
    @unsafe
    package init(
        adopting memory: UnsafeMutableRawBufferPointer,
        isSource: Bool = false,
        discard: @escaping (_ offset: Int, _ count: Int) -> Void
    ) throws(ArenaError) {
        guard let base = memory.baseAddress else { throw .wrongSize }
        let header = try ArenaHeader(
            unsafe Array(memory.prefix(4096)),
            memorySize: memory.count,
            isSource: isSource
        )
        layout = header.layout
        unitShift = layout.chunkUnit.trailingZeroBitCount
        unsafe self.memory = memory
        unsafe self.base = base
        unsafe chunks = base + layout.chunksOffset
        unsafe allocator = ChunkAllocator(base: base + layout.chunksOffset, pageCount: layout.pageCount)
        self.discard = discard
        unsafe journal = ArenaJournal(base: base, ring: base + layout.ringOffset)
    }

    // MARK: Slots

    package func slot(_ index: Int) -> ArenaSlot {
        precondition(index >= 0 && index < layout.slotCount, "a slot outside of the arena")
        return unsafe ArenaSlot(base: base + layout.slotsOffset + index * ArenaLayout.slotSize)
    }

    /// Copies a slot, as it is at this moment, to memory that nobody else writes.
    ///
    /// `memory` has ``ArenaLayout/slotSize`` bytes, and is aligned to 8.
    @unsafe
    func slot(_ index: Int, copiedTo memory: UnsafeMutableRawBufferPointer) -> ArenaSlot {
        precondition(index >= 0 && index < layout.slotCount, "a slot outside of the arena")
        let place = unsafe base + layout.slotsOffset + index * ArenaLayout.slotSize
        unsafe memory.copyMemory(from: UnsafeRawBufferPointer(start: place, count: ArenaLayout.slotSize))
        guard let copy = memory.baseAddress else { preconditionFailure("memory for a slot") }
        return unsafe ArenaSlot(base: copy)
    }

    /// Returns a cleared slot for a new connection; nil when all of them are taken.
    package func claimSlot() -> Int? {
        let index: Int
        if let reused = vacant.popLast() {
            index = Int(reused)
        } else {
            guard generations.count < layout.slotCount else { return nil }
            index = generations.count
            generations.append(0)
            journal.slotsUsed = UInt32(generations.count)
        }
        generations[index] &+= 1
        slotsInUse += 1
        highestSlots = max(highestSlots, slotsInUse)
        slot(index).clear(generation: generations[index])
        return index
    }

    /// Frees a slot whose connection is gone, and everything that it held.
    package func vacate(_ index: Int) {
        let slot = slot(index)
        slot.state = .vacant
        releaseQueue(of: slot)
        if slot.queueStore.chunk != 0 { free(slot.queueStore.chunk) }
        let receiveChunk = slot.received.chunk
        if receiveChunk != 0, receiveChunk != ArenaSlot.ReceiveBuffer.landing { free(receiveChunk) }
        if slot.identity != 0 { free(slot.identity) }
        slot.identity = 0
        slotsInUse -= 1
        vacant.append(Int32(index))
        if slotsInUse == 0 { becameEmpty() }
    }

    /// Gives the memory of the slots back to the system after a large wave of connections is over.
    ///
    /// Generations go on counting, so that an old event cannot be mistaken for an event of a new connection.
    private func becameEmpty() {
        guard highestSlots > 1024 else { return }
        let start = layout.slotsOffset / 4096 * 4096 + 4096
        let end = (layout.slotsOffset + highestSlots * ArenaLayout.slotSize) / 4096 * 4096
        if end > start { discard(start, end - start) }
        highestSlots = 0
        vacant = (0..<generations.count).reversed().map(Int32.init)
    }

    // MARK: Chunks

    package func allocate(_ byteCount: Int) -> UInt32? { allocator.allocate(byteCount) }

    package func free(_ chunk: UInt32) {
        allocator.free(chunk)
        if !allocator.pagesToDiscard.isEmpty { discardIdlePages() }
    }

    /// Gives back the pages that the allocator does not keep any longer.
    func discardIdlePages() {
        for page in allocator.takePagesToDiscard() {
            discard(layout.chunksOffset + page * ArenaLayout.pageSize, ArenaLayout.pageSize)
        }
    }

    /// Returns how far a chunk is from the first one, in bytes.
    @inline(__always)
    func place(of chunk: UInt32) -> Int { Int(chunk) &<< unitShift }

    package func capacity(of chunk: UInt32) -> Int { allocator.capacity(of: chunk) }

    /// Bytes of all chunks in use.
    package var chunkBytesInUse: Int { allocator.bytesInUse }

    /// Returns a chunk's memory, which is valid until the chunk is freed.
    @unsafe
    package func bytes(of chunk: UInt32, count: Int) -> UnsafeMutableRawBufferPointer {
        let offset = place(of: chunk)
        precondition(offset + count <= layout.pageCount * ArenaLayout.pageSize, "a chunk outside of the arena")
        return unsafe UnsafeMutableRawBufferPointer(start: chunks + offset, count: count)
    }

    /// The place where bytes are received before they get a chunk of their own.
    @unsafe
    package var landing: UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(start: base + layout.landingOffset, count: ArenaLayout.landingSize)
    }

    /// Clears the landing, so that a successor can never mistake one connection's bytes there for another's.
    package func clearLanding(_ count: Int) {
        unsafe UnsafeMutableRawBufferPointer(rebasing: landing[..<count]).initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// Makes a chunk to receive into, or returns nil when there is no memory.
    ///
    /// `fill` writes `count` bytes to its front; all bytes after them are zero, for the same reason as in the landing.
    package func makeReceiveChunk(
        _ byteCount: Int,
        filled count: Int,
        _ fill: (UnsafeMutableRawBufferPointer) -> Void
    ) -> (chunk: UInt32, capacity: UInt32)? {
        guard let chunk = allocate(byteCount) else { return nil }
        let capacity = capacity(of: chunk)
        let all = unsafe bytes(of: chunk, count: capacity)
        unsafe fill(UnsafeMutableRawBufferPointer(rebasing: all[..<count]))
        unsafe UnsafeMutableRawBufferPointer(rebasing: all[count...]).initializeMemory(as: UInt8.self, repeating: 0)
        return (chunk, UInt32(capacity))
    }

    // MARK: Frames

    /// Makes room for a frame of that many bytes, which the caller holds once.
    ///
    /// Returns nil when there is no memory.
    package func makeFrame(_ byteCount: Int) -> UInt32? {
        guard let chunk = allocator.allocate(Self.frameHead + byteCount) else { return nil }
        let head = unsafe chunks + place(of: chunk)
        unsafe head.storeBytes(of: 1, as: UInt32.self)
        unsafe head.storeBytes(of: UInt32(byteCount), toByteOffset: 4, as: UInt32.self)
        return chunk
    }

    /// Returns a frame's bytes.
    @unsafe
    package func frameBytes(_ frame: UInt32) -> UnsafeMutableRawBufferPointer {
        let head = unsafe chunks + place(of: frame)
        let count = Int(unsafe head.load(fromByteOffset: 4, as: UInt32.self))
        return unsafe UnsafeMutableRawBufferPointer(start: head + Self.frameHead, count: count)
    }

    package func retain(_ frame: UInt32) {
        let head = unsafe chunks + place(of: frame)
        unsafe head.storeBytes(of: head.load(as: UInt32.self) + 1, as: UInt32.self)
    }

    package func release(_ frame: UInt32) {
        let head = unsafe chunks + place(of: frame)
        let holds = unsafe head.load(as: UInt32.self) - 1
        unsafe head.storeBytes(of: holds, as: UInt32.self)
        if holds == 0 { free(frame) }
    }
}
