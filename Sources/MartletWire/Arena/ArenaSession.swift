// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// What a session needs of the arena: messages that are kept until they are confirmed, and a slot that waits without a socket.

extension Arena {
    /// Removes the oldest entry of a session's queue, confirmed or not; returns it if it was a message.
    ///
    /// The caller releases its frame. The entry must not be partly sent.
    private func dropOldest(of slot: ArenaSlot) -> QueueEntry? {
        let kept = slot.kept
        let entry = entry(numbered: kept.entries, of: slot)
        if kept.entries != slot.queueHead {
            if entry.isCounted { slot.keptBytes -= entry.byteCount }
        } else {
            // Only a slot without a socket loses what was not sent. What is kept never lies behind what was sent.
            slot.head.entries = kept.entries &+ 1
            slot.queuedBytes -= UInt64(entry.byteCount)
            atomicMemoryFence(ordering: .releasing)
        }
        slot.kept = .init(entries: kept.entries &+ 1, messages: kept.messages &+ (entry.isCounted ? 1 : 0))
        return entry.isCounted ? entry : nil
    }

    /// Drops the oldest messages of a session until it keeps at most so many entries and bytes; returns the bytes dropped.
    ///
    /// What is still to be sent is not dropped while there is a socket.
    package func dropKept(of slot: ArenaSlot, entries: Int, bytes: Int) -> Int {
        var dropped = 0
        let isWaiting = slot.state == .waiting
        while isWaiting ? slot.kept.entries != slot.queueTail : slot.kept.entries != slot.queueHead {
            let held = isWaiting ? Int(slot.queuedBytes) : Int(slot.keptBytes)
            let count = isWaiting ? entryCount(of: slot) : Int(slot.queueHead &- slot.kept.entries)
            guard count > entries || held > bytes else { break }
            guard let entry = dropOldest(of: slot) else { continue }
            dropped += Int(entry.byteCount)
            release(entry.frame)
        }
        freeEmptyQueue(slot)
        return dropped
    }

    /// Drops the messages that the client has confirmed: those before its count of `messages`; returns their bytes.
    ///
    /// A count that is older than the last one changes nothing; returns nil for one that is ahead of what was sent.
    package func confirm(_ messages: UInt32, of slot: ArenaSlot) -> Int? {
        let more = Int32(bitPattern: messages &- slot.kept.messages)
        if more <= 0 { return 0 }
        guard Int(more) <= sentMessages(of: slot, most: Int(more)) else { return nil }
        var dropped = 0
        while slot.kept.entries != slot.queueHead {
            let isCounted = entry(numbered: slot.kept.entries, of: slot).isCounted
            if isCounted, slot.kept.messages == messages { break }
            guard let entry = dropOldest(of: slot) else { continue }
            dropped += Int(entry.byteCount)
            release(entry.frame)
        }
        freeEmptyQueue(slot)
        return dropped
    }

    /// Counts the messages of a session that were sent and are kept, up to so many.
    private func sentMessages(of slot: ArenaSlot, most: Int) -> Int {
        var (count, number) = (0, slot.kept.entries)
        while count < most, number != slot.queueHead {
            if entry(numbered: number, of: slot).isCounted { count += 1 }
            number &+= 1
        }
        return count
    }

    /// Returns the messages of a session that come after its client's count; nil if they are not all there.
    ///
    /// `ahead` means that the client counts more than there were.
    package func messages(after count: UInt32, of slot: ArenaSlot) -> (isAhead: Bool, entries: [QueueEntry])? {
        let skipped = Int32(bitPattern: count &- slot.kept.messages)
        if skipped < 0 { return nil }
        var entries: [QueueEntry] = []
        var number = slot.kept.entries
        while number != slot.queueTail {
            let entry = entry(numbered: number, of: slot)
            if entry.isCounted { entries.append(entry) }
            number &+= 1
        }
        if Int(skipped) > entries.count { return (true, []) }
        return (false, Array(entries[Int(skipped)...]))
    }

    /// Makes a slot wait for its client without a socket: one store decides; then what only the socket needed is dropped.
    package func beginWaiting(_ slot: ArenaSlot, since now: UInt64) {
        slot.waitingSince = now
        atomicMemoryFence(ordering: .releasing)
        slot.state = .waiting
        let buffer = slot.received
        slot.received = .init(position: 0)
        if buffer.chunk != 0, buffer.chunk != ArenaSlot.ReceiveBuffer.landing { free(buffer.chunk) }
        dropAllButMessages(slot)
        freeEmptyQueue(slot)
    }

    /// Leaves gaps where a waiting slot's queue has frames that are no messages; none of what remains counts as sent.
    private func dropAllButMessages(_ slot: ArenaSlot) {
        var bytes: UInt64 = 0
        var number = slot.kept.entries
        while number != slot.queueTail {
            let entry = entry(numbered: number, of: slot)
            if entry.isCounted {
                bytes += UInt64(entry.byteCount)
            } else if entry.frame != 0 {
                unsafe entryAddress(slot, number).storeBytes(of: QueueEntry.gap.word, as: UInt64.self)
                release(entry.frame)
            }
            number &+= 1
        }
        slot.head = .init(entries: slot.kept.entries, position: 0)
        slot.queuedBytes = bytes
        slot.keptBytes = 0
    }

    /// Ends the session of a slot whose socket goes on without it, and returns the bytes of its kept messages.
    package func endSession(of slot: ArenaSlot) -> Int {
        let bytes = Int(slot.keptBytes)
        var number = slot.kept.entries
        let end = slot.queueHead
        // From here on the queue begins where the socket is: a successor finds what is before that without an owner.
        slot.flags.remove(.session)
        atomicMemoryFence(ordering: .releasing)
        while number != end {
            let entry = entry(numbered: number, of: slot)
            if entry.frame != 0 { release(entry.frame) }
            number &+= 1
        }
        slot.keptBytes = 0
        freeEmptyQueue(slot)
        return bytes
    }
}
