// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// Sessions: a connection that outlives its socket, and keeps what its client has not confirmed.

extension SocketTable {
    /// Returns true if a slot has a session, whether there is a socket or not.
    func isSession(_ index: Int) -> Bool { arena.slot(index).flags.contains(.session) }

    /// Returns true if a session waits for its client.
    func isWaiting(_ index: Int) -> Bool { arena.slot(index).state == .waiting }

    /// Returns true if a session has ended while it waited, in this turn.
    func hasEnded(_ index: Int) -> Bool { isWaiting(index) && locals[index].isGone }

    func isText(_ frame: PreparedFrame) -> Bool {
        unsafe arena.frameBytes(frame.reference)[0] & 0x0F == Opcode.text.rawValue
    }

    /// Makes a new slot that of a session, before anything is queued.
    func beginSession(_ slot: ArenaSlot, _ resuming: Resumption?) {
        slot.flags.insert(.session)
        guard let resuming else { return }
        let old = arena.slot(resuming.slot)
        slot.kept = .init(entries: 0, messages: resuming.received)
        slot.messagesReceived = old.messagesReceived
        slot.resumes = old.resumes &+ 1
        slot.attempts = old.attempts
    }

    /// Queues the messages that a client has not received, after its greeting; returns why that is not possible.
    func replay(_ resuming: Resumption, to index: Int) -> Refusal? {
        let slot = arena.slot(index)
        let old = arena.slot(resuming.slot)
        let isSame = slot.flags.contains(.deflates) && slot.deflateWindow >= old.deflateWindow
        // Expanded, they may be much larger than what was kept, and what comes next must find room, too.
        let most = limits.queueBytes / 2 + replayRoom(.session)
        for entry in resuming.messages {
            if takesAsIs(entry, slot, isSame: isSame) {
                guard queue(entry.frame, byteCount: entry.byteCount, isCounted: true, to: index) else { return .full }
                continue
            }
            // It has a form that this client has not agreed to.
            guard let frame = reformed(entry, for: slot) else { return .full }
            defer { arena.release(frame.reference) }
            guard Int(slot.queuedBytes) + Int(frame.byteCount) <= most else { return .overflow }
            guard queue(frame.reference, byteCount: frame.byteCount, isCounted: true, to: index) else { return .full }
        }
        return nil
    }

    /// Returns true if a slot's socket takes a kept frame in the form that it has.
    ///
    /// `isSame` means that it takes the compression that was agreed on before.
    private func takesAsIs(_ entry: Arena.QueueEntry, _ slot: ArenaSlot, isSame: Bool) -> Bool {
        let bytes = unsafe UnsafeRawBufferPointer(arena.frameBytes(entry.frame))
        let isEvent = EventStream.isText(unsafe Span<UInt8>(_unsafeBytes: bytes))
        if slot.flags.contains(.events) || isEvent { return slot.flags.contains(.events) == isEvent }
        return unsafe isSame || bytes[0] & FrameEncoder.compressedBit == 0
    }

    /// Makes a frame that a slot's socket takes of one that has another form; nil if there is no memory.
    private func reformed(_ entry: Arena.QueueEntry, for slot: ArenaSlot) -> PreparedFrame? {
        let bytes = unsafe UnsafeRawBufferPointer(arena.frameBytes(entry.frame))
        let whole = unsafe Span<UInt8>(_unsafeBytes: bytes)
        if EventStream.isText(whole) { return try? prepare(.text, EventStream.text(of: whole).span) }
        let head = unsafe FrameEncoder.headLength(of: bytes)
        var payload = unsafe UnsafeRawBufferPointer(rebasing: bytes[head...])
        if unsafe bytes[0] & FrameEncoder.compressedBit != 0 {
            guard let deflate, let text = unsafe try? deflate.expand(payload, maximum: Limits.echoMessageBytes) else {
                return nil
            }
            unsafe payload = UnsafeRawBufferPointer(text)
        }
        let text = unsafe Span<UInt8>(_unsafeBytes: payload)
        return slot.flags.contains(.events) ? prepare(eventOf: text) : try? prepare(.text, text)
    }

    /// Takes a session, which another slot has by now, from the slot that had it; its socket is closed.
    ///
    /// If the other socket may be one that the client has given up, this one's client must come back (`reason`).
    func giveUp(_ index: Int, for reason: CloseReason) {
        if isWaiting(index) { return forget(index) }
        let wasHeard = unsafe loop.now &- arena.slot(index).lastReceived < Self.recently
        close(index, code: reason.code, reason: reason.advice)
        // A client that takes its own session again and again must not have many sockets that are closing.
        guard wasHeard, !locals[index].isGone else { return }
        flush(index)
        markGone(index)
    }

    /// How long ago something came from a socket that was in use just now, in nanoseconds.
    private static let recently: UInt64 = 1_000_000_000

    /// How many bytes more a session's queue may have, because a replay may lie in it.
    func replayRoom(_ flags: ArenaSlot.Flags) -> Int {
        flags.contains(.session) ? limits.resumeBytes + Self.entryCost * limits.resumeMessages : 0
    }

    /// How many sessions are remembered because they could not take a message.
    private static let mostLost = 256

    /// Remembers that a session ends because it could not take a message, so that its client is told so.
    func noteLost(_ index: Int) {
        guard isSession(index) else { return }
        if lostSessions.count == Self.mostLost { lostSessions.removeFirst() }
        lostSessions.append(id(index))
    }

    /// Ends the session of a connection that could not take a message.
    func loseMessage(_ index: Int) {
        noteLost(index)
        endSession(index, arena.slot(index))
    }

    /// Ends the session of a slot; a socket goes on without it.
    func endSession(_ index: Int, _ slot: ArenaSlot) {
        guard slot.flags.contains(.session) else { return }
        if slot.state == .waiting { return markGone(index) }
        sessionBytes -= arena.endSession(of: slot)
    }

    /// Frees the slot of a waiting session.
    func forget(_ index: Int) {
        let slot = arena.slot(index)
        sessionBytes -= Int(slot.queuedBytes)
        if locals[index].isGone { endingBytes -= Int(slot.queuedBytes) }
        waitingCount -= 1
        locals[index] = Local()
        arena.vacate(index)
    }

    // MARK: Waiting

    /// Lets a session wait whose socket is over; the slot stays.
    func beginWaiting(_ index: Int) {
        let slot = arena.slot(index)
        queuedBytes -= Int(slot.queuedBytes)
        sessionBytes -= Int(slot.keptBytes)
        partialBytes -= Self.counted(Int(slot.received.capacity))
        endPartial(index)
        let descriptor = locals[index].descriptor
        loop.deregister(descriptor)
        locals[index] = Local(descriptor: -1, generation: slot.generation)
        unsafe arena.beginWaiting(slot, since: loop.now)
        slot.addressPlace = -1
        Fault.at(.waits)
        // The slot comes first: a successor closes a socket without a slot.
        closeDescriptor(descriptor)
        noteWaiting(index, slot)
    }

    /// Goes on with a session that another worker let wait.
    func restoreWaiting(_ index: Int) {
        let slot = arena.slot(index)
        while locals.count <= index { locals.append(Local()) }
        locals[index] = Local(descriptor: -1, generation: slot.generation)
        slot.waitingSince = unsafe min(slot.waitingSince, loop.now)
        noteWaiting(index, slot)
    }

    private func noteWaiting(_ index: Int, _ slot: ArenaSlot) {
        waitingCount += 1
        sessionBytes += Int(slot.queuedBytes)
        waits.append(index, slot.generation, deadline: slot.waitingSince + limits.resumeWindow)
        // Entries of sessions that were resumed are not searched for, but they must not fill the queue either.
        if waits.count > 2 * waitingCount + 64 {
            waits.removeAll(unless: { isWaiting($0, $1) && !locals[$0].isGone })
        }
        bound(slot)
        if waitingCount > limits.waitingSessions { endOldestWaiting() }
    }

    /// Lets the session of a socket that begins to close wait in a slot of its own; the socket goes on without it.
    ///
    /// If there is no slot, or no memory, the session ends.
    func letSessionWait(_ index: Int) {
        let slot = arena.slot(index)
        guard slot.flags.contains(.session), limits.resumeWindow > 0, let new = copySession(index, slot) else {
            return endSession(index, slot)
        }
        let copy = arena.slot(new)
        arena.journal.beginMove(from: index, to: new)
        unsafe copy.waitingSince = loop.now
        copy.state = .waiting
        // The move ends when the socket begins to close (``beginClosing(_:_:payload:)``).
        endSession(index, slot)
        while locals.count <= new { locals.append(Local()) }
        locals[new] = Local(descriptor: -1, generation: copy.generation)
        noteWaiting(new, copy)
        moves.append((index, new))
    }

    /// Copies a session into a slot of its own, which is vacant until its state is set; nil if there is no memory.
    private func copySession(_ index: Int, _ slot: ArenaSlot) -> Int? {
        guard let identity = try? arena.identity(ofSlot: index), let new = arena.claimSlot() else { return nil }
        let copy = arena.slot(new)
        copy.connectedAt = slot.connectedAt
        copy.userSlot = slot.userSlot
        copy.flags = slot.flags.intersection([.session, .tokenArrived, .deflates, .window])
        copy.expiresAt = slot.expiresAt
        copy.lastReceived = slot.lastReceived
        copy.rateState = slot.rateState
        copy.strikes = slot.strikes
        copy.kept = .init(entries: 0, messages: slot.kept.messages)
        copy.messagesReceived = slot.messagesReceived
        copy.attempts = slot.attempts
        copy.resumes = slot.resumes
        let messages = arena.messages(after: slot.kept.messages, of: slot)?.entries ?? []
        let isCopied =
            arena.setIdentity(identity, of: copy)
            && messages.allSatisfy { arena.append($0.frame, byteCount: $0.byteCount, isCounted: true, to: copy) }
        if isCopied { return new }
        arena.vacate(new)
        return nil
    }

    /// Holds a message for a session without a socket.
    func hold(_ frame: PreparedFrame, _ slot: ArenaSlot, _ index: Int) -> SendOutcome {
        if slot.state == .waiting, locals[index].isGone { return .failed(.closed) }
        // What is no message is of no use to the next socket.
        guard isText(frame) else { return .failed(.closed) }
        guard Int(frame.byteCount) <= limits.resumeBytes else { return .failed(.queueFull) }
        guard arena.append(frame.reference, byteCount: frame.byteCount, isCounted: true, to: slot) else {
            return .failed(.outOfMemory)
        }
        if slot.state == .waiting {
            sessionBytes += Int(frame.byteCount)
            bound(slot)
        } else {
            queuedBytes += Int(frame.byteCount)
        }
        Fault.at(.delivery)
        return .held
    }

    /// Drops the oldest messages of a session until it keeps no more than it may.
    func bound(_ slot: ArenaSlot) {
        sessionBytes -= arena.dropKept(of: slot, entries: limits.resumeMessages, bytes: limits.resumeBytes)
    }

    /// Keeps a message that was sent, within the bounds of the session and of all sessions.
    func didKeep(_ byteCount: Int, _ slot: ArenaSlot) {
        sessionBytes += byteCount
        bound(slot)
        guard sessionBytes > limits.sessionBytes else { return }
        // Who is here and does not confirm keeps no more than a share of what all may have.
        let share = limits.sessionBytes / max(1, count + waitingCount)
        sessionBytes -= arena.dropKept(of: slot, entries: limits.resumeMessages, bytes: share)
    }

    /// Drops what a client has confirmed; false if it counts more messages than it was sent.
    func confirm(_ messages: UInt32, of slot: ArenaSlot) -> Bool {
        guard let bytes = arena.confirm(messages, of: slot) else { return false }
        sessionBytes -= bytes
        return true
    }

    /// Closes a connection for a reason of the server's, after which its session may go on.
    func close(_ index: Int, _ reason: CloseReason) {
        if reason.leavesSession {
            // The session of a socket that is over already waits, or will at the end of the turn.
            guard isOpen(index) else { return }
            letSessionWait(index)
        }
        close(index, code: reason.code, reason: reason.advice)
    }

    // MARK: Ends

    /// Marks as gone the sessions whose clients did not come back in time, and those that are too many.
    ///
    /// Returns when to look again.
    func sweepWaiting(now: UInt64) -> UInt64? {
        while let (index, generation) = waits.popDue(now: now) {
            guard isWaiting(index, generation), !locals[index].isGone else { continue }
            tally.counters[.sessionsExpired] += 1
            markGone(index)
        }
        return waits.earliest
    }

    /// Ends waiting sessions, oldest first, until all sessions together keep no more than they may.
    func boundSessions() {
        guard sessionBytes - endingBytes > limits.sessionBytes else { return }
        waits.forEach { index, generation in
            // One that holds nothing makes no room.
            guard isWaiting(index, generation), !locals[index].isGone, arena.slot(index).queuedBytes > 0 else {
                return true
            }
            tally.counters[.sessionsEvicted] += 1
            markGone(index)
            return sessionBytes - endingBytes > limits.sessionBytes
        }
    }

    /// Ends the session that has waited longest, but not that of one slot.
    func endOldestWaiting(except kept: Int? = nil) {
        waits.forEach { index, generation in
            guard isWaiting(index, generation), !locals[index].isGone, index != kept else { return true }
            tally.counters[.sessionsEvicted] += 1
            markGone(index)
            return false
        }
    }

    private func isWaiting(_ index: Int, _ generation: UInt32) -> Bool {
        locals.indices.contains(index) && locals[index].generation == generation && isWaiting(index)
    }

    /// Takes the list of sessions that have moved to other slots.
    func takeMoves() -> [(from: Int, to: Int)] {
        if moves.isEmpty { return [] }
        defer { moves = [] }
        return moves
    }
}
