// SPDX-License-Identifier: Apache-2.0

// Whether a slot can be gone on with: in itself, and with the kernel's positions. Nothing is changed here.

extension Arena {
    /// Throws if a slot is inconsistent, in itself or with the kernel's positions; changes nothing.
    package func check(_ index: Int, _ positions: StreamPositions) throws(ArenaError) {
        let slot = slot(index)
        _ = try identity(of: slot, index)
        try checkReceived(slot, index, positions)
        _ = try checkedQueue(of: slot, index, positions)
    }

    /// Throws if a session cannot wait, or go on waiting, in its slot; changes nothing.
    package func checkSession(_ index: Int) throws(ArenaError) {
        let slot = slot(index)
        guard slot.flags.contains(.session), try identity(of: slot, index).session != nil else {
            throw .damagedSlot(index)
        }
        _ = try checkedQueue(of: slot, index, nil)
    }

    /// Returns true if no frame to a slot's client is partly sent or waits to be sent.
    package func isQuiet(_ index: Int, _ positions: StreamPositions) -> Bool {
        let slot = slot(index)
        return slot.state == .open && slot.queueHead == slot.queueTail && slot.sentPosition == positions.written
    }

    /// The entries of a slot's queue, and how many of them at its front are kept though they were sent.
    struct CheckedQueue {
        var entries: [QueueEntry]
        var kept: Int
    }

    /// Returns the entries of a slot's queue; throws unless all are frames in the arena and they fit the positions.
    ///
    /// Without positions, the slot has no socket.
    func checkedQueue(
        of slot: ArenaSlot,
        _ index: Int,
        _ positions: StreamPositions?
    ) throws(ArenaError) -> CheckedQueue {
        let store = slot.queueStore
        let isSession = slot.flags.contains(.session) && !layout.isPrevious
        let (head, tail) = (slot.queueHead, slot.queueTail)
        let start = isSession ? slot.kept.entries : head
        let (count, kept) = (Int(tail &- start), Int(head &- start))
        guard kept <= count, store.capacity >= UInt32(ArenaSlot.inlineQueueCapacity), store.capacity <= 1 << 24,
            store.capacity & (store.capacity - 1) == 0, count <= Int(store.capacity),
            store.chunk == 0
                ? store == .inSlot : isInside(store.chunk, count: Int(store.capacity) * 8)
        else { throw .damagedSlot(index) }
        var total: UInt64 = 0
        let entries = (0..<count).map { entry(numbered: start &+ UInt32($0), of: slot) }
        for (number, entry) in entries.enumerated() {
            if entry == .gap, isSession, number < kept || positions == nil { continue }
            guard isFrame(entry.frame, entry.byteCount) else { throw .damagedSlot(index) }
            if number >= kept { total += UInt64(entry.byteCount) }
        }
        if let positions {
            let sent = UInt64(UInt32(truncatingIfNeeded: positions.written) &- slot.head.position)
            guard sent <= total, sent <= positions.written else { throw .damagedSlot(index) }
        }
        return CheckedQueue(entries: entries, kept: kept)
    }

    private func isFrame(_ frame: UInt32, _ byteCount: UInt32) -> Bool {
        guard frame > 0, byteCount > 0, isInside(frame, count: Self.frameHead) else { return false }
        let length = unsafe bytes(of: frame, count: Self.frameHead).load(fromByteOffset: 4, as: UInt32.self)
        return length == byteCount && isInside(frame, count: Self.frameHead + Int(byteCount))
    }

    func checkReceived(
        _ slot: ArenaSlot,
        _ index: Int,
        _ positions: StreamPositions
    ) throws(ArenaError) {
        let buffer = slot.received
        guard positions.read >= buffer.position, buffer.handled <= buffer.length else { throw .damagedSlot(index) }
        let extra = positions.read - buffer.position
        // Only a worker that ended between a receive and its record leaves more bytes than were recorded.
        guard extra == 0 || journal.receiving == index else { throw .damagedSlot(index) }
        let fits: Bool =
            switch buffer.chunk {
            case 0: buffer.length == 0 && extra <= UInt64(ArenaLayout.landingSize)
            case ArenaSlot.ReceiveBuffer.landing: extra == 0 && buffer.length <= ArenaLayout.landingSize
            default:
                buffer.length <= buffer.capacity && extra <= UInt64(buffer.capacity - buffer.length)
                    && isInside(buffer.chunk, count: Int(buffer.capacity))
            }
        guard fits else { throw .damagedSlot(index) }
    }
}
