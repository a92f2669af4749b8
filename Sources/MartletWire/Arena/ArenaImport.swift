internal import MartletCore

/// Copies connections from other shards' arenas into one's own: how users come to another shard with all they have.
///
/// Nothing is changed in the other arena, so that all of it can be given up. A frame that several of the connections have
/// in their queues is copied once.
package final class ArenaImport {
    private let source: Arena
    private let target: Arena
    /// The copies of frames, by their references in the source.
    private var frames: [UInt32: UInt32] = [:]

    package init(from source: Arena, to target: Arena) {
        self.source = source
        self.target = target
    }

    /// Copies a connection; returns its slot here.
    ///
    /// Throws where it makes no sense, in itself or beside the kernel's positions, or where it still moved; nil where
    /// there is no memory. `place`: where our board counts its address.
    package func copy(_ index: Int, _ positions: StreamPositions, place: (Int) -> Int) throws(ArenaError) -> Int? {
        try source.check(index, positions)
        let from = source.slot(index)
        guard positions.written == from.sentPosition, positions.read == from.received.position else {
            throw .damagedSlot(index)
        }
        let identity = try source.identity(ofSlot: index)
        guard ShardMap.slot(ofUser: identity.bearer.user) == Int(from.userSlot) else { throw .damagedSlot(index) }
        guard let number = target.claimSlot() else { return nil }
        let slot = target.slot(number)
        copyNumbers(from, slot)
        guard target.setIdentity(identity, of: slot), copyReceived(from, slot), copyQueue(from, slot) else {
            target.vacate(number)
            return nil
        }
        slot.addressPlace = from.addressPlace < 0 ? -1 : Int32(place(Int(from.addressPlace)))
        slot.state = from.state
        return number
    }

    /// Lets go of the copies: from now on only queues hold them.
    package func finish() {
        for frame in frames.values { target.release(frame) }
        frames = [:]
    }

    private func copyNumbers(_ from: ArenaSlot, _ slot: ArenaSlot) {
        slot.cookie = from.cookie
        slot.connectedAt = from.connectedAt
        slot.userSlot = from.userSlot
        slot.flags = from.flags
        slot.attempts = from.attempts
        slot.sentPosition = from.sentPosition
        slot.head = .init(entries: 0, position: from.head.position)
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
        // Room for what comes next, as where it was.
        guard let chunk = target.allocate(max(rest, Int(buffer.capacity))) else { return false }
        let isInLanding = buffer.chunk == ArenaSlot.ReceiveBuffer.landing
        let whole = unsafe isInLanding ? source.landing : source.bytes(of: buffer.chunk, count: Int(buffer.length))
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: whole[Int(buffer.handled)..<Int(buffer.length)])
        unsafe target.bytes(of: chunk, count: rest).copyMemory(from: bytes)
        slot.received = .init(
            chunk: chunk,
            capacity: UInt32(target.capacity(of: chunk)),
            length: UInt32(rest),
            position: buffer.position
        )
        return true
    }

    private func copyQueue(_ from: ArenaSlot, _ slot: ArenaSlot) -> Bool {
        for position in 0..<source.queueCount(of: from) {
            let entry = source.entry(position, of: from)
            guard let frame = copied(entry), target.append(frame, byteCount: entry.byteCount, to: slot) else {
                return false
            }
        }
        return true
    }

    private func copied(_ entry: Arena.QueueEntry) -> UInt32? {
        if let known = frames[entry.frame] { return known }
        guard let frame = target.makeFrame(Int(entry.byteCount)) else { return nil }
        unsafe target.frameBytes(frame).copyMemory(from: UnsafeRawBufferPointer(source.frameBytes(entry.frame)))
        frames[entry.frame] = frame
        return frame
    }
}
