internal import MartletCore

/// Copies connections from other shards' arenas into one's own: how users come to another shard with all they have.
///
/// Nothing is changed in the other arena, so that all of it can be given up. Its worker still lives, and may be anybody's
/// by now: whatever is read there is read once, and what was checked is what is used. A frame that several of the
/// connections have in their queues is copied once.
@safe
package final class ArenaImport {
    /// What an honest worker's connection has at most.
    package struct Limits: Sendable {
        /// Bytes that were received and not handled.
        let received: Int
        /// Bytes in a queue.
        let queued: Int
        /// Echoes, which have other limits, are for development.
        let allowsEchoes: Bool

        package init(messageBytes: Int, queueBytes: Int, allowsEchoes: Bool) {
            // A message with the heads of its fragments, which are merged before they outgrow it, and what came behind it.
            received = 4 * messageBytes + 262_144
            // A full queue takes one more message, which may be as large; the configuration may have allowed more before.
            queued = max(4 * queueBytes, 16_777_216)
            self.allowsEchoes = allowsEchoes
        }
    }

    private let source: Arena
    private let target: Arena
    private let limits: Limits
    private let isOurs: (_ userSlot: Int) -> Bool
    /// The copies of frames, by their references in the source, and their lengths.
    private var frames: [UInt32: (copy: UInt32, byteCount: UInt32)] = [:]
    /// The slot that is being copied, as it was at one moment.
    private let snapshot = UnsafeMutableRawBufferPointer.allocate(byteCount: ArenaLayout.slotSize, alignment: 8)

    /// `isOurs`: whether users of this hash slot are.
    package init(from source: Arena, to target: Arena, limits: Limits, isOurs: @escaping (_ userSlot: Int) -> Bool) {
        self.source = source
        self.target = target
        self.limits = limits
        self.isOurs = isOurs
    }

    deinit { unsafe snapshot.deallocate() }

    /// Copies a connection; returns its slot here.
    ///
    /// Throws where it makes no sense, in itself or beside the kernel's positions, or where it still moved; nil where
    /// there is no memory. `place`: where our board counts its address.
    package func copy(_ index: Int, _ positions: StreamPositions, place: (Int) -> Int) throws(ArenaError) -> Int? {
        let from = unsafe source.slot(index, copiedTo: snapshot)
        let identity = try source.identity(of: from, index)
        try source.checkReceived(from, index, positions)
        var queue = try source.checkedQueue(of: from, index, positions)[...]
        guard positions.written == from.sentPosition, positions.read == from.received.position,
            from.state != .vacant, ShardMap.userSlot(of: identity.bearer.user) == Int(from.userSlot),
            isOurs(Int(from.userSlot)), isWithinLimits(from, queue)
        else { throw .damagedSlot(index) }
        let headPosition = dropSent(&queue, from, positions)
        guard let number = target.claimSlot() else { return nil }
        let slot = target.slot(number)
        copyNumbers(from, slot)
        slot.head = .init(entries: 0, position: headPosition)
        guard target.setIdentity(identity, of: slot), copyReceived(from, slot), copyQueue(queue, slot) else {
            target.vacate(number)
            return nil
        }
        slot.addressPlace = from.addressPlace < 0 ? -1 : Int32(clamping: place(Int(from.addressPlace)))
        slot.state = from.state
        return number
    }

    /// Lets go of the copies: from now on only queues hold them.
    package func finish() {
        for frame in frames.values { target.release(frame.copy) }
        frames = [:]
    }

    private func isWithinLimits(_ from: ArenaSlot, _ queue: ArraySlice<Arena.QueueEntry>) -> Bool {
        if from.flags.contains(.echo) { return limits.allowsEchoes }
        let received = from.received
        let queued = queue.reduce(0) { $0 + Int($1.byteCount) }
        return Int(received.length) - Int(received.handled) <= limits.received && queued <= limits.queued
    }

    /// Frames that were wholly sent have left the queue, whether that was recorded or not; returns where the first one that
    /// is left begins.
    private func dropSent(
        _ queue: inout ArraySlice<Arena.QueueEntry>,
        _ from: ArenaSlot,
        _ positions: StreamPositions
    ) -> UInt32 {
        var position = from.head.position
        while let first = queue.first, UInt32(truncatingIfNeeded: positions.written) &- position >= first.byteCount {
            position = position &+ first.byteCount
            queue.removeFirst()
        }
        return position
    }

    private func copyNumbers(_ from: ArenaSlot, _ slot: ArenaSlot) {
        slot.cookie = from.cookie
        slot.connectedAt = from.connectedAt
        slot.userSlot = from.userSlot
        slot.flags = from.flags.intersection(.known)
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
        // Room for what comes next, as where it was; more is made where it is needed.
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

    private func copyQueue(_ queue: ArraySlice<Arena.QueueEntry>, _ slot: ArenaSlot) -> Bool {
        for entry in queue {
            guard let frame = copied(entry), target.append(frame, byteCount: entry.byteCount, to: slot) else {
                return false
            }
        }
        return true
    }

    /// The length that was checked counts, whatever the frame says of itself by now.
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
