// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

extension SocketTable {
    /// What a connection goes on with that resumes a session.
    struct Resumption {
        /// The slot that has the session until now.
        let slot: Int
        /// How many of the session's messages the client has received.
        let received: UInt32
        /// The messages that it has not received.
        let messages: [Arena.QueueEntry]
        /// The rooms that the session is in.
        let rooms: [Room]
        /// Whether the client has the newest token, and so knows of the socket that the session leaves.
        var isSure = true
    }

    /// Makes an accepted socket a connection, and returns its slot; this is the only way to add one.
    ///
    /// The 101 answer is the first frame in its queue, and the `greeting` comes next. The connection is open, for a
    /// successor too, once all of this is there. `place` is where its address is counted. If this throws, the caller
    /// keeps the descriptor.
    ///
    /// With `tokens` it is a session: a new one, or with `resuming` one that another slot has given up when this returns.
    func adopt(
        _ descriptor: Int32,
        _ ticket: AdoptionTicket,
        id: ConnectionID,
        place: Int? = nil,
        greeting: [UInt8]? = nil,
        tokens: SessionTokens? = nil,
        resuming: Resumption? = nil,
        now: Int64
    ) throws(Refusal) -> Int {
        // HTTP requests may have been answered on it before: our stream begins where the kernel says.
        let kernelStream = KernelStream(of: descriptor, havingRead: ticket.bytesRead)
        guard let stream = kernelStream, stream.read == ticket.bytesRead else { throw .miscounted }
        guard let index = arena.claimSlot() else { throw .full }
        let slot = arena.slot(index)
        slot.cookie = StreamSocket.cookie(descriptor)
        slot.connectedAt = resuming.map { arena.slot($0.slot).connectedAt } ?? now
        slot.userSlot = UInt16(ShardMap.userSlot(of: ticket.bearer.user))
        slot.received = .init(position: ticket.bytesRead)
        slot.sentPosition = stream.written
        slot.head = .init(entries: 0, position: UInt32(truncatingIfNeeded: stream.written))
        if ticket.service == .echo { slot.flags.insert(.echo) }
        // Whatever it still sends is no message of ours.
        if ticket.accepted == nil { slot.flags = Self.streaming }
        if let deflate = ticket.accepted?.deflate {
            slot.flags.insert(.deflates)
            slot.deflateWindow = deflate.window
        }
        slot.expiresAt = ticket.bearer.expiresAt
        slot.lastReceived = unsafe loop.now
        slot.addressPlace = Int32(place ?? -1)
        if tokens != nil { beginSession(slot, resuming) }
        let rooms = resuming?.rooms ?? (ticket.service == .messages ? ticket.bearer.rooms : [])
        let identity = ArenaIdentity(connection: id.text, session: tokens, bearer: ticket.bearer, rooms: rooms)
        guard arena.setIdentity(identity, of: slot), keepLeftover(ticket.leftover, slot), watch(descriptor, index, slot)
        else {
            arena.vacate(index)
            throw .full
        }
        while locals.count <= index { locals.append(Local()) }
        locals[index] = Local(descriptor: descriptor, generation: slot.generation)
        let isGreeted =
            queue(raw: Self.answer(to: ticket), to: index) && (greeting.map { queue(first: $0, to: index) } ?? true)
        let refusal = isGreeted ? resuming.flatMap { replay($0, to: index) } : .full
        if let refusal {
            queuedBytes -= Int(slot.queuedBytes)
            locals[index] = Local()
            loop.deregister(descriptor)
            arena.vacate(index)
            throw refusal
        }
        if let resuming {
            arena.journal.beginMove(from: resuming.slot, to: index)
            Fault.at(.resuming)
        }
        slot.state = .open
        if let resuming {
            Fault.at(.resumed)
            giveUp(resuming.slot, for: resuming.isSure ? .replaced : .serviceRestart)
            arena.journal.endMove()
            Fault.at(.moved)
        }
        return index
    }

    private static func answer(to ticket: AdoptionTicket) -> [UInt8] {
        guard let accepted = ticket.accepted else {
            return EventStream.head(HTTPDate(unixSeconds: Clock.unixMilliseconds() / 1000))
        }
        var answer: [UInt8] = []
        Handshake.write(accepted, to: &answer)
        return answer
    }

    private func keepLeftover(_ bytes: [UInt8], _ slot: ArenaSlot) -> Bool {
        if bytes.isEmpty { return true }
        let made = unsafe arena.makeReceiveChunk(bytes.count, filled: bytes.count) { unsafe $0.copyBytes(from: bytes) }
        guard let made else { return false }
        slot.received = .init(
            chunk: made.chunk,
            capacity: made.capacity,
            length: UInt32(bytes.count),
            position: slot.received.position
        )
        return true
    }
}
