// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The worker's WebSockets: descriptors on one side, slots of the arena on the other.
///
/// It is the ``Transport`` through which the manager sends. Sending only queues; everything that a socket gets in one
/// turn of the loop is sent in one write at the end of the turn (``flushDirty()``). A socket that breaks or finishes is
/// listed in ``gone`` and keeps its slot until ``release(_:)``, so that nothing disappears while a caller uses it.
final class SocketTable: Transport {
    struct Limits {
        var messageBytes: Int
        var queueBytes: Int
        /// The most bytes of unfinished messages that are held for all connections.
        var partialBytes = Int.max
        /// The fewest bytes of a message that is compressed.
        var compressionMinBytes = Int.max
        /// How long a peer may take to answer our close frame, in nanoseconds.
        var closeTimeout: UInt64 = 5_000_000_000
        /// The largest message on `/echo`, for conformance suites, which send up to 16 MiB.
        static let echoMessageBytes = 16 * 1024 * 1024
        static let echoQueueBytes = 256 * 1024 * 1024
    }

    /// The bytes that a queued frame takes besides its own: its entry in the queue, and the rounding of its chunk.
    private static let entryCost = 136

    let loop: EventLoop
    let arena: Arena
    let limits: Limits
    var locals: [Local] = []
    /// Slots to whose queues something was added in this turn.
    var dirty: [Int] = []
    /// Slots whose sockets are over, in the order in which this was noticed.
    var gone: [Int] = []
    /// Slots that are closing, oldest first, with the time at which they are closed without waiting longer.
    var closing = DeadlineQueue()
    /// Slots that have more to be read, but have had their share of a turn, or whose turn was spent.
    var later = LaterQueue()
    /// How many bytes are in all queues.
    var queuedBytes = 0
    /// How many bytes all receive chunks have that count (``counted(_:)``).
    ///
    /// ``partials`` are their connections, in the order in which they began, and ``partialCount`` is how many there
    /// are.
    var partialBytes = 0
    var partials = LaterQueue()
    var partialCount = 0
    var lastPartial: UInt32 = 0
    /// Connections that had to go to make room for others.
    var refused: [Int] = []
    let tally: Tally
    /// Whether the message that was handled last took much more time than its bytes say.
    var hasDear = false
    /// Where messages are unmasked; it grows to the largest one and shrinks again.
    var scratch = Scratch()
    /// The compressor, which is made when the first connection agrees on compression.
    lazy var deflate = MessageDeflate()
    /// Where messages are compressed.
    var compressing = Scratch()
    /// The compressed forms of frames that are being sent now, by their references and windows.
    var twins: [(frame: UInt32, window: Int, twin: PreparedFrame)] = []
    /// The list of pieces that is reused for every write of several frames.
    var gather = Gather()

    init(loop: EventLoop, arena: Arena, limits: Limits, tally: Tally) {
        self.loop = loop
        self.arena = arena
        self.limits = limits
        self.tally = tally
    }

    /// How many sockets have a slot, including those that are closing.
    var count: Int { isAbandoned ? 0 : arena.slotsInUse }
    private var isAbandoned = false

    /// Returns the id of the connection that has a slot.
    ///
    /// It is empty for a slot that no connection of ours has.
    func id(_ index: Int) -> ConnectionID {
        ConnectionID(locals[index].descriptor < 0 ? "" : arena.connectionID(of: arena.slot(index)))
    }

    /// Returns true if an event belongs to the connection that has the slot now.
    func isCurrent(_ slot: Int, generation: UInt32) -> Bool {
        locals.indices.contains(slot) && locals[slot].descriptor >= 0
            && locals[slot].generation & 0xFF_FFFF == generation
    }

    // MARK: Coming and going

    /// Makes an accepted socket a connection, and returns its slot; this is the only way to add one.
    ///
    /// The 101 answer is the first frame in its queue, and the `greeting` comes next. The connection is open, for a
    /// successor too, once all of this is there. `place` is where its address is counted. If this throws, the caller
    /// keeps the descriptor.
    func adopt(
        _ descriptor: Int32,
        _ ticket: AdoptionTicket,
        id: ConnectionID,
        place: Int? = nil,
        greeting: [UInt8]? = nil,
        now: Int64
    ) throws(Refusal) -> Int {
        // HTTP requests may have been answered on it before: our stream begins where the kernel says.
        let kernelStream = KernelStream(of: descriptor, havingRead: ticket.bytesRead)
        guard let stream = kernelStream, stream.read == ticket.bytesRead else { throw .miscounted }
        guard let index = arena.claimSlot() else { throw .full }
        let slot = arena.slot(index)
        slot.cookie = StreamSocket.cookie(descriptor)
        slot.connectedAt = now
        slot.userSlot = UInt16(ShardMap.userSlot(of: ticket.bearer.user))
        slot.received = .init(position: ticket.bytesRead)
        slot.sentPosition = stream.written
        slot.head = .init(entries: 0, position: UInt32(truncatingIfNeeded: stream.written))
        if ticket.service == .echo { slot.flags.insert(.echo) }
        if let deflate = ticket.deflate {
            slot.flags.insert(.deflates)
            slot.deflateWindow = deflate.window
        }
        slot.expiresAt = ticket.bearer.expiresAt
        slot.lastReceived = unsafe loop.now
        slot.addressPlace = Int32(place ?? -1)
        let rooms = ticket.service == .messages ? ticket.bearer.rooms : []
        let identity = ArenaIdentity(connection: id.text, bearer: ticket.bearer, rooms: rooms)
        let accepted = Handshake.Accepted(
            acceptValue: ticket.acceptValue,
            subprotocol: ticket.subprotocol,
            deflate: ticket.deflate
        )
        var answer: [UInt8] = []
        Handshake.write(accepted, to: &answer)
        guard arena.setIdentity(identity, of: slot), keepLeftover(ticket.leftover, slot), watch(descriptor, index, slot)
        else {
            arena.vacate(index)
            throw .full
        }
        while locals.count <= index { locals.append(Local()) }
        locals[index] = Local(descriptor: descriptor, generation: slot.generation)
        guard queue(raw: answer, to: index), greeting.map({ queue(first: $0, to: index) }) ?? true else {
            locals[index] = Local()
            loop.deregister(descriptor)
            arena.vacate(index)
            throw .full
        }
        slot.state = .open
        return index
    }

    /// Adds a connection that another worker served, with its slot as that worker left it.
    ///
    /// If the socket cannot be watched, it counts as gone.
    func restore(_ descriptor: Int32, slot index: Int) {
        let slot = arena.slot(index)
        StreamSocket.setUrgentInline(descriptor)
        while locals.count <= index { locals.append(Local()) }
        locals[index] = Local(descriptor: descriptor, generation: slot.generation)
        queuedBytes += Int(slot.queuedBytes)
        partialBytes += Self.counted(Int(slot.received.capacity))
        if Self.counted(Int(slot.received.capacity)) > 0 { beginPartial(index) }
        guard watch(descriptor, index, slot) else { return markGone(index) }
        if slot.state == .closing {
            unsafe closing.append(index, slot.generation, deadline: loop.now + limits.closeTimeout)
        }
        markDirty(index)
    }

    /// Stops watching all sockets, because events for sockets that another process reads would be reported forever.
    func unwatchAll() {
        for local in locals where local.descriptor >= 0 { loop.deregister(local.descriptor) }
    }

    func watchAll() {
        for index in locals.indices where locals[index].descriptor >= 0 {
            locals[index].watchesWritable = false
            if !watch(locals[index].descriptor, index, arena.slot(index)) { markGone(index) }
            markDirty(index)
        }
    }

    /// Gives up all sockets, and the arena, which belong to another process now.
    func abandon() {
        for local in locals where local.descriptor >= 0 { closeDescriptor(local.descriptor) }
        locals = []
        dirty = []
        gone = []
        later = LaterQueue()
        isAbandoned = true
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

    private func watch(_ descriptor: Int32, _ index: Int, _ slot: ArenaSlot) -> Bool {
        let token = EventToken(.socket, index: index, generation: slot.generation)
        return (try? loop.register(descriptor, token: token.rawValue, interest: .readable)) != nil
    }

    /// Marks a socket as over; its slot is released at the end of the turn.
    func markGone(_ slot: Int) {
        guard !locals[slot].isGone else { return }
        locals[slot].isGone = true
        gone.append(slot)
    }

    /// Takes the list of sockets that are over.
    func takeGone() -> [Int] {
        guard !gone.isEmpty else { return [] }
        defer { gone = [] }
        return gone
    }

    /// Closes a socket and frees its slot.
    func release(_ index: Int) {
        let slot = arena.slot(index)
        queuedBytes -= Int(slot.queuedBytes)
        partialBytes -= Self.counted(Int(slot.received.capacity))
        endPartial(index)
        if slot.state == .open { tally.counters[.messagesDropped] += arena.queueCount(of: slot) }
        let descriptor = locals[index].descriptor
        loop.deregister(descriptor)
        locals[index] = Local()
        // The slot comes first: a successor closes a socket without a slot, but no slot may be without its socket.
        arena.vacate(index)
        closeDescriptor(descriptor)
    }

    /// Gives back the memory that a large wave of connections needed, once all are gone; true if there was any.
    func shrinkWhenEmpty() -> Bool {
        guard !isAbandoned, count == 0, locals.count > 1024 else { return false }
        locals = []
        dirty = []
        closing = DeadlineQueue()
        later = LaterQueue()
        return true
    }

    /// Closes connections whose closing handshake takes too long, and returns when to look again.
    func sweep(now: UInt64) -> UInt64? {
        while let (slot, generation) = closing.popDue(now: now) {
            if isCurrent(slot, generation: generation & 0xFF_FFFF) { markGone(slot) }
        }
        return closing.earliest
    }

    // MARK: Transport

    func isOpen(_ handle: Int) -> Bool {
        locals[handle].descriptor >= 0 && !locals[handle].isGone && arena.slot(handle).state == .open
    }

    func queuedBytes(_ handle: Int) -> Int { Int(arena.slot(handle).queuedBytes) }

    func prepare(_ text: Span<UInt8>) throws(SendFailure) -> PreparedFrame {
        if text.count > limits.queueBytes { throw .tooLarge }
        let frame = try prepare(.text, text)
        // A successor that finds the delivery unfinished removes this frame from the queues again.
        arena.journal.note(frame: frame.reference)
        return frame
    }

    func release(_ frame: PreparedFrame) {
        releaseTwin(of: frame)
        arena.release(frame.reference)
    }

    func send(_ plain: PreparedFrame, to handle: Int) -> SendFailure? {
        let slot = arena.slot(handle)
        let frame = slot.flags.contains(.deflates) ? compressed(plain, window: slot.deflateWindow) : plain
        guard slot.state == .open, !locals[handle].isGone else { return .closed }
        let limit = slot.flags.contains(.echo) ? Limits.echoQueueBytes : limits.queueBytes
        // Small frames take more memory than their bytes, and the limit is one of memory.
        let held = Int(slot.queuedBytes) + Self.entryCost * (arena.queueCount(of: slot) + 1)
        // One message always fits, so that no connection is closed because of a single one.
        if arena.queueCount(of: slot) > 0, held + Int(frame.byteCount) > limit { return .queueFull }
        guard arena.append(frame.reference, byteCount: frame.byteCount, to: slot) else { return .outOfMemory }
        queuedBytes += Int(frame.byteCount)
        markDirty(handle)
        Fault.at(.delivery)
        return nil
    }

    func close(_ handle: Int, code: UInt16, reason: String) {
        let slot = arena.slot(handle)
        guard slot.state == .open, !locals[handle].isGone else { return }
        // A queue that has overflowed will not drain: drop what can still be dropped, so that the client learns why.
        if code == CloseReason.tooSlow.code { dropQueue(of: slot) }
        slot.closeCode = code
        beginClosing(handle, slot, payload: FrameEncoder.closePayload(code: code, reason: reason))
    }
}
