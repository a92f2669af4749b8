// SPDX-License-Identifier: Apache-2.0

// How a worker goes on with the arena of another one. What that one was in the middle of when it ended is undone, what
// it did without recording it is learnt from the kernel, and slots that are inconsistent are refused, one by one.
extension Arena {
    /// The result of a recovery.
    package struct Recovery: Equatable, Sendable {
        /// Slots whose connections go on.
        package internal(set) var slots: [Int] = []
        /// Slots that are inconsistent; their connections are lost.
        package internal(set) var refused: [Int] = []
        /// The slot of the client whose message was being handled.
        package internal(set) var interrupted: Int?
        /// How many connections the kernel had moved bytes for that were not recorded.
        package internal(set) var unrecorded = 0
        /// How many connections an unfinished delivery had already reached.
        package internal(set) var undone = 0
        /// Sessions that wait without a socket.
        package internal(set) var waiting: [Int] = []
        /// The slot of a connection whose session has moved to another slot; it is one of ``slots``.
        package internal(set) var superseded: Int?
    }

    /// A slot that holds a connection, and the cookie of the socket that it belongs to.
    package struct Occupied: Equatable, Sendable {
        package let slot: Int
        package let cookie: UInt64
    }

    /// The slots that hold connections, to be matched with sockets.
    package var occupied: [Occupied] {
        let used = min(Int(journal.slotsUsed), layout.slotCount)
        return (0..<used).compactMap { index in
            let slot = slot(index)
            return slot.state == .vacant || slot.state == .waiting ? nil : Occupied(slot: index, cookie: slot.cookie)
        }
    }

    /// The slots of sessions that wait without a socket.
    package var waitingSlots: [Int] {
        (0..<min(Int(journal.slotsUsed), layout.slotCount)).filter { slot($0).state == .waiting }
    }

    /// Goes on with these slots, each with the positions of its socket; all other slots are vacant afterwards.
    ///
    /// A session without a socket waits; from `now` on (monotonic nanoseconds) if it had one before.
    package func recover(_ positions: [Int: StreamPositions], now: UInt64 = 0) -> Recovery {
        var recovery = Recovery()
        generations = (0..<min(Int(journal.slotsUsed), layout.slotCount)).map { slot($0).generation }
        recovery.interrupted = undoHandling()
        recovery.undone = undoDelivery()
        let moved = finishMove()
        var survey = ChunkSurvey(pageCount: layout.pageCount)
        claimShared(&survey)
        var holds: [UInt32: UInt32] = [:]
        var landed: Int?
        for index in generations.indices {
            let slot = slot(index)
            guard slot.state != .vacant else { continue }
            // Its session has ended, or has another slot, as soon as a socket begins to close.
            if slot.state == .closing { slot.flags.remove(.session) }
            if slot.state == .waiting
                || (positions[index] == nil && slot.state == .open && slot.flags.contains(.session))
            {
                if takeWaiting(index, slot, now: now, &survey, holds: &holds) {
                    recovery.waiting.append(index)
                } else {
                    recovery.refused.append(index)
                    slot.state = .vacant
                }
                continue
            }
            guard let position = positions[index],
                take(index, position, &survey, holds: &holds, landed: &landed, &recovery)
            else {
                recovery.refused.append(index)
                slot.state = .vacant
                continue
            }
            recovery.slots.append(index)
            if moved == index { recovery.superseded = index }
        }
        for (frame, count) in holds {
            unsafe bytes(of: frame, count: Self.frameHead).storeBytes(of: count, as: UInt32.self)
        }
        unsafe allocator = ChunkAllocator(base: chunks, continuing: survey)
        // This must happen before any of the pages is used again.
        discardIdlePages()
        slotsInUse = recovery.slots.count + recovery.waiting.count
        highestSlots = generations.count
        vacant = generations.indices.reversed().filter { slot($0).state == .vacant }.map(Int32.init)
        if let landed, !rescueLanding(landed) {
            recovery.slots.removeAll { $0 == landed }
            recovery.refused.append(landed)
            vacate(landed)
        }
        clearLanding(ArenaLayout.landingSize)
        journal.endReceiving()
        return recovery
    }

    /// Goes on with one slot; false if that is not possible.
    private func take(
        _ index: Int,
        _ position: StreamPositions,
        _ survey: inout ChunkSurvey,
        holds: inout [UInt32: UInt32],
        landed: inout Int?,
        _ recovery: inout Recovery
    ) -> Bool {
        let slot = slot(index)
        guard (try? check(index, position)) != nil, let length = try? recordLength(slot.identity, slot: index),
            survey.claim(slot.identity, 8 + Int(length))
        else { return false }
        if position.written != slot.sentPosition || position.read != slot.received.position {
            recovery.unrecorded += 1
        }
        slot.sentPosition = position.written
        return takeReceived(index, slot, read: position.read, &survey, landed: &landed)
            && takeQueue(slot, &survey, &holds)
    }

    /// Goes on with a session that has no socket; false if that is not possible.
    private func takeWaiting(
        _ index: Int,
        _ slot: ArenaSlot,
        now: UInt64,
        _ survey: inout ChunkSurvey,
        holds: inout [UInt32: UInt32]
    ) -> Bool {
        guard (try? checkSession(index)) != nil, let length = try? recordLength(slot.identity, slot: index),
            survey.claim(slot.identity, 8 + Int(length))
        else { return false }
        if slot.state != .waiting {
            slot.waitingSince = now
            slot.state = .waiting
        }
        slot.addressPlace = -1
        slot.received = .init(position: 0)
        slot.head = .init(entries: slot.kept.entries, position: 0)
        return claimQueue(slot, &survey, &holds)
    }

    /// Ends the move of a session to another slot, if the new slot was complete; returns the slot that lost it.
    private func finishMove() -> Int? {
        defer { journal.endMove() }
        guard let (from, to) = journal.move, generations.indices.contains(from), generations.indices.contains(to),
            from != to, slot(to).state == .open || slot(to).state == .waiting, slot(from).state != .vacant
        else { return nil }
        if slot(from).state == .waiting {
            slot(from).state = .vacant
            return nil
        }
        slot(from).flags.remove(.session)
        return from
    }

    private func takeReceived(
        _ index: Int,
        _ slot: ArenaSlot,
        read: UInt64,
        _ survey: inout ChunkSurvey,
        landed: inout Int?
    ) -> Bool {
        var buffer = slot.received
        buffer.length += UInt32(read - buffer.position)
        buffer.position = read
        if slot.flags.contains(.discards) {
            slot.received = .init(position: read)
            return true
        }
        if buffer.length == buffer.handled { buffer = .init(position: read) }
        if buffer.chunk == 0, buffer.length > 0 { buffer.chunk = ArenaSlot.ReceiveBuffer.landing }
        if buffer.chunk == ArenaSlot.ReceiveBuffer.landing {
            // Only one connection at a time has its bytes in the landing.
            if landed != nil { return false }
            landed = index
        } else if buffer.chunk != 0 {
            guard survey.claim(buffer.chunk, Int(buffer.capacity)) else { return false }
            clearTail(of: buffer)
        }
        slot.received = buffer
        // The rest is read again from its first byte.
        slot.reader = MessageReader()
        return true
    }

    private func takeQueue(_ slot: ArenaSlot, _ survey: inout ChunkSurvey, _ holds: inout [UInt32: UInt32]) -> Bool {
        while let first = first(of: slot), slot.sentPosition - slot.headPosition >= UInt64(first.byteCount) {
            let head = slot.head
            slot.head = .init(entries: head.entries &+ 1, position: head.position &+ first.byteCount)
        }
        return claimQueue(slot, &survey, &holds)
    }

    /// Claims what a queue holds; frames that are no messages leave it where they were sent, or cannot be.
    private func claimQueue(_ slot: ArenaSlot, _ survey: inout ChunkSurvey, _ holds: inout [UInt32: UInt32]) -> Bool {
        let isWaiting = slot.state == .waiting
        let count = entryCount(of: slot)
        if count == 0 { slot.queueStore = .inSlot }
        let store = slot.queueStore
        if store.chunk != 0, !survey.claim(store.chunk, Int(store.capacity) * 8) { return false }
        let kept = count - queueCount(of: slot)
        var (keptBytes, queuedBytes): (UInt64, UInt64) = (0, 0)
        for place in 0..<count {
            let number = slot.queueStart &+ UInt32(place)
            let entry = entry(numbered: number, of: slot)
            if !entry.isCounted, isWaiting || place < kept {
                unsafe entryAddress(slot, number).storeBytes(of: QueueEntry.gap.word, as: UInt64.self)
                continue
            }
            if holds[entry.frame] == nil, !survey.claim(entry.frame, Self.frameHead + Int(entry.byteCount)) {
                return false
            }
            holds[entry.frame, default: 0] += 1
            if place < kept { keptBytes += UInt64(entry.byteCount) } else { queuedBytes += UInt64(entry.byteCount) }
        }
        slot.keptBytes = UInt32(clamping: keptBytes)
        slot.queuedBytes = queuedBytes
        return true
    }

    /// Claims the chunks that do not belong to a connection: tables, and answers in the ring.
    private func claimShared(_ survey: inout ChunkSurvey) {
        for kind in ArenaTable.Kind.all {
            let word = journal[kind]
            let (chunk, capacity) = (UInt32(truncatingIfNeeded: word), Int(word >> 32))
            guard chunk != 0 else { continue }
            guard capacity <= ArenaTable.largestCapacity, isInside(chunk, count: capacity * 4),
                survey.claim(chunk, capacity * 4)
            else {
                journal[kind] = 0
                continue
            }
            let references = unsafe bytes(of: chunk, count: capacity * 4)
            for place in 0..<capacity {
                let reference = unsafe references.load(fromByteOffset: place * 4, as: UInt32.self)
                guard reference != 0 else { continue }
                if let bytes = record(reference), survey.claim(reference, 8 + bytes.count) { continue }
                unsafe references.storeBytes(of: 0, toByteOffset: place * 4, as: UInt32.self)
            }
        }
        journal.keepAnswers { chunk, count in
            guard let bytes = record(chunk), bytes.count == count else { return false }
            return survey.claim(chunk, 8 + count)
        }
        guard let batch = journal.batch else { return }
        if isInside(batch.chunk, count: ArenaJournal.batchReceiptBytes),
            survey.claim(batch.chunk, ArenaJournal.batchReceiptBytes)
        {
            forgetUndone(batch)
        } else {
            journal.batch = nil
        }
    }

    /// Forgets receipts of a delivery that was not done: they must not become valid when its number is used again.
    private func forgetUndone(_ batch: ArenaJournal.BatchUnderWay) {
        let cells = unsafe bytes(of: batch.chunk, count: ArenaJournal.batchReceiptBytes)
        for number in 0..<BatchCoding.mostPublishes {
            let place = number * ArenaJournal.batchReceiptSize + ArenaJournal.batchReceiptText
            if unsafe cells.load(fromByteOffset: place, as: UInt64.self) > journal.done {
                unsafe cells.storeBytes(of: 0, toByteOffset: place, as: UInt64.self)
            }
        }
    }

    /// Moves received bytes from the landing, which others need, to a chunk; false if there is no memory.
    private func rescueLanding(_ index: Int) -> Bool {
        let slot = slot(index)
        var buffer = slot.received
        let rest = Int(buffer.length - buffer.handled)
        let from = Int(buffer.handled)
        let made = unsafe makeReceiveChunk(max(rest, 4096), filled: rest) { target in
            unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: landing[from..<from + rest]))
        }
        guard let made else { return false }
        (buffer.chunk, buffer.capacity) = made
        buffer.length = UInt32(rest)
        buffer.handled = 0
        slot.received = buffer
        return true
    }

    /// Clears the rest of a chunk, where workers of other versions may have left another connection's bytes.
    private func clearTail(of buffer: ArenaSlot.ReceiveBuffer) {
        let all = unsafe bytes(of: buffer.chunk, count: Int(buffer.capacity))
        unsafe UnsafeMutableRawBufferPointer(rebasing: all[Int(buffer.length)...])
            .initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// Undoes what the client's message that was being handled had caused, because it will be handled again.
    ///
    /// None of that had been sent: sockets are written at the end of a turn.
    private func undoHandling() -> Int? {
        defer { journal.endHandling() }
        guard let handling = journal.handling, handling.slot < generations.count else { return nil }
        let slot = slot(handling.slot)
        let state = ArenaSlot.State(rawValue: handling.state)
        let flags = ArenaSlot.Flags(rawValue: handling.flags)
        // A session that has left this slot has left it for good.
        guard slot.state != .vacant, let state, slot.received.handled == handling.handled,
            flags.contains(.session) == slot.flags.contains(.session)
        else { return nil }
        slot.messagesReceived = handling.messagesReceived
        // Only this message's own answers were appended since then. A queue that was cut in the meantime belongs to a
        // connection that was closed, and remains closed.
        if slot.queueTail &- handling.queueTail <= 64 {
            slot.queueTail = handling.queueTail
            slot.state = state
            slot.flags = flags
            if state == .open { slot.closeCode = 0 }
        }
        if slot.attempts < .max { slot.attempts += 1 }
        return handling.slot
    }

    /// Undoes a delivery that was not finished: whoever asked for it asks again, and no client gets it twice.
    private func undoDelivery() -> Int {
        guard let frames = journal.unfinished else { return 0 }
        defer { journal.abandonUnfinished() }
        var count = 0
        for index in generations.indices {
            let slot = slot(index)
            let capacity = slot.queueStore.capacity
            guard slot.state != .vacant, queueCount(of: slot) > 0, capacity > 0, capacity & (capacity - 1) == 0,
                slot.queueStore.chunk == 0
                    ? capacity == UInt32(ArenaSlot.inlineQueueCapacity)
                    : isInside(slot.queueStore.chunk, count: Int(capacity) * 8)
            else { continue }
            let last = entry(queueCount(of: slot) - 1, of: slot)
            guard frames.contains(last.frame) else { continue }
            slot.queueTail = slot.queueTail &- 1
            count += 1
        }
        return count
    }
}
