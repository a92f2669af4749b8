// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// Copies connections from another shard's arena into our own, so that their users move to our shard.
///
/// Nothing is changed in the other arena, so that the whole move can be given up. Its worker still lives, and an
/// attacker may control it by now: everything is read only once there, and exactly what was checked is used. A frame
/// that is in the queues of several connections is copied once.
@safe
package final class ArenaImport {
    /// The most that a connection of an honest worker can have.
    package struct Limits: Sendable {
        /// How many bytes may be received and not handled.
        let received: Int
        /// How many bytes may be in a queue.
        let queued: Int
        /// Whether echoes are allowed: they have other limits, and are for development.
        let allowsEchoes: Bool

        package init(messageBytes: Int, queueBytes: Int, resumeBytes: Int = 0, allowsEchoes: Bool) {
            // A message, the heads of its fragments (merged before they need more room than it), and what came after.
            received = 4 * messageBytes + 262_144
            // A full queue takes one more message, which may be as large. The limit may have been higher before.
            queued = max(4 * queueBytes, 16_777_216) + 4 * resumeBytes
            self.allowsEchoes = allowsEchoes
        }
    }

    private let source: Arena
    private let target: Arena
    private let limits: Limits
    private let isOurs: (_ userSlot: Int) -> Bool
    /// The copies of frames and their lengths, by their references in the source.
    private var frames: [UInt32: (copy: UInt32, byteCount: UInt32)] = [:]
    /// The slot that is being copied, as it was at one moment.
    private let snapshot = UnsafeMutableRawBufferPointer.allocate(byteCount: ArenaLayout.slotSize, alignment: 8)

    /// Prepares to copy the connections of those users for whose hash slot `isOurs` returns true.
    package init(from source: Arena, to target: Arena, limits: Limits, isOurs: @escaping (_ userSlot: Int) -> Bool) {
        self.source = source
        self.target = target
        self.limits = limits
        self.isOurs = isOurs
    }

    deinit { unsafe snapshot.deallocate() }

    /// Copies a connection, and returns its slot in our arena; nil if there is no memory.
    ///
    /// Throws if the source slot is inconsistent, in itself or with the kernel's positions, or was still changing.
    /// `place` gives the place where our board counts the address.
    package func copy(_ index: Int, _ positions: StreamPositions, place: (Int) -> Int) throws(ArenaError) -> Int? {
        let from = unsafe source.slot(index, copiedTo: snapshot)
        try source.checkReceived(from, index, positions)
        guard positions.written == from.sentPosition, positions.read == from.received.position,
            from.state == .open || from.state == .closing
        else { throw .damagedSlot(index) }
        let identity = try checkedIdentity(of: from, index)
        var queue = try source.checkedQueue(of: from, index, positions)
        guard isWithinLimits(from, queue) else { throw .damagedSlot(index) }
        let headPosition = passSent(&queue, from, positions)
        guard let number = target.claimSlot() else { return nil }
        let slot = target.slot(number)
        copyNumbers(from, slot)
        guard target.setIdentity(identity, of: slot), copyReceived(from, slot), copyQueue(queue, slot, at: headPosition)
        else {
            target.vacate(number)
            return nil
        }
        slot.addressPlace = from.addressPlace < 0 ? -1 : Int32(clamping: place(Int(from.addressPlace)))
        slot.state = from.state
        return number
    }

    /// Copies a session that has no socket, or whose socket is over, so that it waits in our arena; nil if there is no
    /// memory.
    ///
    /// Throws if the source slot is no session, or is inconsistent. `now` is when a session begins to wait that has not
    /// waited yet.
    package func copySession(_ index: Int, now: UInt64) throws(ArenaError) -> Int? {
        let from = unsafe source.slot(index, copiedTo: snapshot)
        let isWaiting = from.state == .waiting
        let identity = try checkedIdentity(of: from, index)
        let queue = try source.checkedQueue(of: from, index, nil)
        guard isWaiting || from.state == .open, from.flags.contains(.session), identity.session != nil,
            !source.layout.isPrevious, isWithinLimits(from, queue)
        else { throw .damagedSlot(index) }
        guard let number = target.claimSlot() else { return nil }
        let slot = target.slot(number)
        copyNumbers(from, slot)
        guard target.setIdentity(identity, of: slot),
            copyQueue(.init(entries: queue.entries.filter(\.isCounted), kept: 0), slot, at: 0)
        else {
            target.vacate(number)
            return nil
        }
        slot.waitingSince = isWaiting ? min(from.waitingSince, now) : now
        slot.state = .waiting
        return number
    }

    /// Returns the identity of a connection whose user is ours.
    private func checkedIdentity(of from: ArenaSlot, _ index: Int) throws(ArenaError) -> ArenaIdentity {
        let identity = try source.identity(of: from, index)
        guard ShardMap.userSlot(of: identity.bearer.user) == Int(from.userSlot), isOurs(Int(from.userSlot)) else {
            throw .damagedSlot(index)
        }
        return identity
    }

    /// Releases the copies of frames: from now on only queues hold them.
    package func finish() {
        for frame in frames.values { target.release(frame.copy) }
        frames = [:]
    }

    private func isWithinLimits(_ from: ArenaSlot, _ queue: Arena.CheckedQueue) -> Bool {
        if from.flags.contains(.echo) { return limits.allowsEchoes }
        let received = from.received
        let queued = queue.entries.reduce(0) { $0 + Int($1.byteCount) }
        return Int(received.length) - Int(received.handled) <= limits.received && queued <= limits.queued
    }

    /// Passes over the frames that were completely sent, whether or not that was recorded; only messages are kept.
    ///
    /// Returns the position at which the first frame begins that was not.
    private func passSent(
        _ queue: inout Arena.CheckedQueue,
        _ from: ArenaSlot,
        _ positions: StreamPositions
    ) -> UInt32 {
        var position = from.head.position
        var sent = queue.kept
        while sent < queue.entries.count,
            UInt32(truncatingIfNeeded: positions.written) &- position >= queue.entries[sent].byteCount
        {
            position = position &+ queue.entries[sent].byteCount
            sent += 1
        }
        let isSession = from.flags.contains(.session) && !source.layout.isPrevious
        let kept = isSession ? queue.entries[..<sent].filter(\.isCounted) : []
        queue = .init(entries: kept + queue.entries[sent...], kept: kept.count)
        return position
    }

    private func copyNumbers(_ from: ArenaSlot, _ slot: ArenaSlot) {
        slot.cookie = from.cookie
        slot.connectedAt = from.connectedAt
        slot.userSlot = from.userSlot
        slot.flags = from.flags.intersection(source.layout.isPrevious ? .knownBefore : .known)
        if slot.flags.contains(.session) {
            slot.kept = .init(entries: 0, messages: from.kept.messages)
            slot.messagesReceived = from.messagesReceived
            slot.resumes = from.resumes
        }
        slot.attempts = from.attempts
        slot.sentPosition = from.sentPosition
        slot.expiresAt = from.expiresAt
        slot.lastReceived = from.lastReceived
        slot.pingSentAt = from.pingSentAt
        slot.rateState = from.rateState
        slot.strikes = from.strikes
        slot.roundTrip = from.roundTrip
        slot.closeCode = from.closeCode
    }

    private func copyReceived(_ from: ArenaSlot, _ slot: ArenaSlot) -> Bool {
        let buffer = from.received
        slot.received = .init(position: buffer.position)
        let rest = Int(buffer.length - buffer.handled)
        guard buffer.chunk != 0, rest > 0 else { return true }
        let isInLanding = buffer.chunk == ArenaSlot.ReceiveBuffer.landing
        let whole = unsafe isInLanding ? source.landing : source.bytes(of: buffer.chunk, count: Int(buffer.length))
        // Room for what comes next, about as much as there was before; more is made when it is needed.
        let made = unsafe target.makeReceiveChunk(max(rest, min(Int(buffer.capacity), 2 * rest + 65536)), filled: rest)
        {
            unsafe $0.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: whole[Int(buffer.handled)..<Int(buffer.length)])
            )
        }
        guard let made else { return false }
        slot.received = .init(
            chunk: made.chunk,
            capacity: made.capacity,
            length: UInt32(rest),
            position: buffer.position
        )
        return true
    }

    /// Copies a queue; the first frame that was not sent begins at this position.
    private func copyQueue(_ queue: Arena.CheckedQueue, _ slot: ArenaSlot, at position: UInt32) -> Bool {
        slot.head = .init(entries: 0, position: position)
        for entry in queue.entries {
            guard let frame = copied(entry),
                target.append(frame, byteCount: entry.byteCount, isCounted: entry.isCounted, to: slot)
            else { return false }
        }
        let kept = queue.entries[..<queue.kept].reduce(0) { $0 + UInt64($1.byteCount) }
        slot.head = .init(entries: UInt32(queue.kept), position: position)
        slot.keptBytes = UInt32(clamping: kept)
        slot.queuedBytes -= kept
        return true
    }

    /// Copies a frame with the length that was checked, whatever the frame says about itself by now.
    private func copied(_ entry: Arena.QueueEntry) -> UInt32? {
        if let known = frames[entry.frame], known.byteCount == entry.byteCount { return known.copy }
        guard let frame = target.makeFrame(Int(entry.byteCount)) else { return nil }
        let all = unsafe source.bytes(of: entry.frame, count: Arena.frameHead + Int(entry.byteCount))
        unsafe target.frameBytes(frame)
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: all[Arena.frameHead...]))
        if let old = frames.updateValue((frame, entry.byteCount), forKey: entry.frame) { target.release(old.copy) }
        return frame
    }
}
