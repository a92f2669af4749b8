// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// A connection's queue of frames: kept <= sent <= tail.
//
// A frame leaves the queue when it is wholly sent. Only a session keeps its messages longer, until its client has confirmed
// them: they lie before the sent position (``ArenaSlot/queueHead``), from ``ArenaSlot/kept`` on. What else was sent between
// them leaves a gap, an entry without a frame.

extension Arena {
    /// A frame in a queue.
    package struct QueueEntry: Equatable, Sendable {
        package let frame: UInt32
        package let byteCount: UInt32
        /// True for a message of a session, which stays until it is confirmed.
        package let isCounted: Bool

        /// An entry that has left the queue while earlier ones are kept.
        static let gap = QueueEntry(frame: 0, byteCount: 0, isCounted: false)
        private static let counted: UInt64 = 1 << 63

        init(frame: UInt32, byteCount: UInt32, isCounted: Bool) {
            self.frame = frame
            self.byteCount = byteCount
            self.isCounted = isCounted
        }

        @inline(__always)
        init(word: UInt64) {
            frame = UInt32(truncatingIfNeeded: word)
            byteCount = UInt32(truncatingIfNeeded: word >> 32) & 0x7FFF_FFFF
            isCounted = word & Self.counted != 0
        }

        var word: UInt64 { UInt64(byteCount) << 32 | UInt64(frame) | (isCounted ? Self.counted : 0) }
    }

    /// Returns how many frames are in a slot's queue and not wholly sent.
    package func queueCount(of slot: ArenaSlot) -> Int { Int(slot.queueTail &- slot.queueHead) }

    /// Returns how many entries a slot's queue has, with those that are kept.
    package func entryCount(of slot: ArenaSlot) -> Int { Int(slot.queueTail &- slot.queueStart) }

    /// Appends a frame, which the queue holds from now on; false when there is no memory.
    package func append(
        _ frame: UInt32,
        byteCount: UInt32,
        isCounted: Bool = false,
        to slot: ArenaSlot
    ) -> Bool {
        let tail = slot.queueTail
        if tail &- slot.queueStart == slot.queueStore.capacity, !growQueue(of: slot) { return false }
        retain(frame)
        let entry = QueueEntry(frame: frame, byteCount: byteCount, isCounted: isCounted)
        unsafe entryAddress(slot, tail).storeBytes(of: entry.word, as: UInt64.self)
        // The frame and its entry must be complete before the queue holds them.
        atomicMemoryFence(ordering: .releasing)
        slot.queueTail = tail &+ 1
        slot.queuedBytes += UInt64(byteCount)
        return true
    }

    /// Returns the first entry that is not wholly sent.
    package func first(of slot: ArenaSlot) -> QueueEntry? {
        slot.queueHead == slot.queueTail ? nil : entry(0, of: slot)
    }

    /// Returns the entry that is `index` places after the first that is not wholly sent.
    package func entry(_ index: Int, of slot: ArenaSlot) -> QueueEntry {
        entry(numbered: slot.queueHead &+ UInt32(index), of: slot)
    }

    /// Returns the entry with this number: entries are numbered in the order in which they were appended.
    @inline(__always)
    package func entry(numbered number: UInt32, of slot: ArenaSlot) -> QueueEntry {
        QueueEntry(word: unsafe entryAddress(slot, number).load(as: UInt64.self))
    }

    /// Notes that the first entry was wholly sent, and returns true if it is kept.
    ///
    /// Otherwise it leaves the queue, and its frame is released.
    package func didSendFirst(of slot: ArenaSlot) -> Bool {
        let head = slot.head
        let entry = entry(numbered: head.entries, of: slot)
        slot.queuedBytes &-= UInt64(entry.byteCount)
        slot.head = .init(entries: head.entries &+ 1, position: head.position &+ entry.byteCount)
        if slot.flags.contains(.session) {
            if entry.isCounted {
                slot.keptBytes += entry.byteCount
                return true
            }
            if slot.kept.entries == head.entries {
                slot.kept.entries &+= 1
            } else {
                unsafe entryAddress(slot, head.entries).storeBytes(of: QueueEntry.gap.word, as: UInt64.self)
            }
        }
        release(entry.frame)
        freeEmptyQueue(slot)
        return false
    }

    /// Removes all entries from the queue except the first `kept` of those that are not wholly sent.
    ///
    /// The caller releases their frames.
    package func truncate(_ slot: ArenaSlot, keeping kept: Int) -> [QueueEntry] {
        let removed = (kept..<max(kept, queueCount(of: slot))).map { entry($0, of: slot) }
        slot.queueTail = slot.queueTail &- UInt32(removed.count)
        slot.queuedBytes -= removed.reduce(0) { $0 + UInt64($1.byteCount) }
        freeEmptyQueue(slot)
        return removed
    }

    /// Releases every frame of the queue of a slot that becomes vacant.
    func releaseQueue(of slot: ArenaSlot) {
        var number = slot.queueStart
        while number != slot.queueTail {
            let entry = entry(numbered: number, of: slot)
            if entry.frame != 0 { release(entry.frame) }
            number &+= 1
        }
    }

    func freeEmptyQueue(_ slot: ArenaSlot) {
        let chunk = slot.queueStore.chunk
        guard chunk != 0, slot.queueStart == slot.queueTail else { return }
        slot.queueStore = .inSlot
        free(chunk)
    }

    /// Moves a queue into a new chunk with twice the room.
    private func growQueue(of slot: ArenaSlot) -> Bool {
        let old = slot.queueStore
        let capacity = old.capacity * 2
        guard let chunk = allocator.allocate(Int(capacity) * 8) else { return false }
        let target = unsafe bytes(of: chunk, count: Int(capacity) * 8)
        for index in 0..<entryCount(of: slot) {
            let number = slot.queueStart &+ UInt32(index)
            let word = unsafe entryAddress(slot, number).load(as: UInt64.self)
            unsafe target.storeBytes(of: word, toByteOffset: Int(number & (capacity - 1)) * 8, as: UInt64.self)
        }
        atomicMemoryFence(ordering: .releasing)
        slot.queueStore = .init(chunk: chunk, capacity: capacity)
        if old.chunk != 0 { free(old.chunk) }
        return true
    }

    @inline(__always)
    func entryAddress(_ slot: ArenaSlot, _ number: UInt32) -> UnsafeMutableRawPointer {
        let store = slot.queueStore
        let offset = Int(number & (store.capacity - 1)) * 8
        if store.chunk == 0 { return unsafe slot.inlineQueue + offset }
        return unsafe chunks + place(of: store.chunk) + offset
    }
}

extension ArenaSlot {
    package struct QueueHead: Equatable, Sendable {
        package var entries: UInt32
        package var position: UInt32

        package init(entries: UInt32, position: UInt32) {
            self.entries = entries
            self.position = position
        }
    }

    package struct QueueStore: Equatable, Sendable {
        package static let inSlot = QueueStore(chunk: 0, capacity: UInt32(ArenaSlot.inlineQueueCapacity))

        /// The chunk that holds the queue if it has outgrown the slot; 0: it is in the slot.
        package var chunk: UInt32
        /// How many entries fit: a power of two.
        package var capacity: UInt32
    }
}
