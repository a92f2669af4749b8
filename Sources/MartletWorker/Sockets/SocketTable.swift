internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The worker's WebSockets: descriptors on one side, slots of the arena on the other.
///
/// It is the ``Transport`` that the manager sends through. Sending only queues; everything that a socket gets in one turn
/// of the loop leaves in one write at the turn's end (``flushDirty()``). A socket that breaks or finishes is listed in
/// ``gone`` and keeps its slot until ``release(_:)``, so that nothing disappears under a caller's feet.
final class SocketTable: Transport {
    /// What this process knows of a slot beside the arena.
    struct Local {
        var descriptor: Int32 = -1
        var generation: UInt32 = 0
        var id = ConnectionID("")
        /// Waits in the list of slots to flush.
        var isDirty = false
        /// Epoll watches for room to write.
        var watchesWritable = false
        var isGone = false
        /// Nothing is written until the switchboard knows what the connection has joined.
        var isHeld = false
        /// Waits in the list of slots whose turn to be read is later.
        var isPutOff = false
        /// Its place among those who hold bytes of unfinished messages that count; 0: it holds none.
        var partial: UInt32 = 0
        /// Fragments since the last that counted as a message.
        var fragments = 0
        /// When the end of its token is looked at next, in Unix milliseconds; max: it is far.
        var expiryEntry = UInt64.max
    }

    struct Limits {
        var messageBytes: Int
        var queueBytes: Int
        /// What is held of messages whose ends have not come, of all connections.
        var partialBytes = Int.max
        /// Shorter messages are not compressed.
        var compressionMinBytes = Int.max
        /// How long a peer gets to answer our close frame.
        var closeTimeout: UInt64 = 5_000_000_000
        /// `/echo` is for conformance suites, which send up to 16 MiB.
        static let echoMessageBytes = 16 * 1024 * 1024
        static let echoQueueBytes = 256 * 1024 * 1024
    }

    /// Bytes that a queued frame takes beside its own: its place in the queue, and what its chunk is rounded up by.
    private static let entryCost = 136

    let loop: EventLoop
    let arena: Arena
    let limits: Limits
    var locals: [Local] = []
    /// Slots whose queues got something in this turn.
    var dirty: [Int] = []
    /// Slots whose sockets are over, in the order in which that was found.
    var gone: [Int] = []
    /// Slots that are closing, oldest first, with the time at which they are cut.
    var closing = DeadlineQueue()
    /// Slots that have something to be read and had their share of this turn, or it was spent.
    var later = LaterQueue()
    /// Bytes in all queues.
    var queuedBytes = 0
    /// Bytes of all receive chunks that count (``counted(_:)``), whose they are in the order in which they began, and how many.
    var partialBytes = 0
    var partials = LaterQueue()
    var partialCount = 0
    var lastPartial: UInt32 = 0
    /// Connections that had to go for others.
    var refused: [Int] = []
    let tally: Tally
    /// Where messages are unmasked; grows to the largest and shrinks again.
    var scratch = Scratch()
    /// Made when the first connection agrees on compression.
    lazy var deflate = MessageDeflate()
    /// Where messages are compressed.
    var compressing = Scratch()
    /// The compressed forms of frames that are being sent now, by their references and windows.
    var twins: [(frame: UInt32, window: Int, twin: PreparedFrame)] = []
    /// Reused for every write of several frames.
    var gather = Gather()

    init(loop: EventLoop, arena: Arena, limits: Limits, tally: Tally) {
        self.loop = loop
        self.arena = arena
        self.limits = limits
        self.tally = tally
    }

    /// Sockets that have a slot, closing ones included.
    var count: Int { isAbandoned ? 0 : arena.slotsInUse }
    private var isAbandoned = false

    /// True where an event belongs to the connection that has the slot now.
    func isCurrent(_ slot: Int, generation: UInt32) -> Bool {
        locals.indices.contains(slot) && locals[slot].descriptor >= 0
            && locals[slot].generation & 0xFF_FFFF == generation
    }

    // MARK: Coming and going

    /// The one way in: an accepted socket becomes a connection.
    ///
    /// The 101 answer is the first thing in its queue, then comes the `greeting`. It is open, for a successor too, once all of
    /// that is there.
    ///
    /// * `place`: where its address is counted.
    ///
    /// Returns its slot; where it throws the caller keeps the descriptor.
    func adopt(
        _ descriptor: Int32,
        _ ticket: AdoptionTicket,
        id: ConnectionID,
        place: Int? = nil,
        greeting: [UInt8]? = nil,
        now: Int64
    ) throws(Refusal) -> Int {
        // It may have come before its listener was told.
        StreamSocket.setUrgentInline(descriptor)
        // It may have been answered before, as HTTP: our stream begins where the kernel says.
        guard let stream = KernelStream(of: descriptor), stream.read == ticket.bytesRead else { throw .miscounted }
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
        let answer = Handshake.answer(accepted)
        guard arena.setIdentity(identity, of: slot), keepLeftover(ticket.leftover, slot), watch(descriptor, index, slot)
        else {
            arena.vacate(index)
            throw .full
        }
        while locals.count <= index { locals.append(Local()) }
        locals[index] = Local(descriptor: descriptor, generation: slot.generation, id: id)
        guard queue(raw: answer, to: index), greeting.map({ queue(raw: Self.frame($0), to: index) }) ?? true else {
            locals[index] = Local()
            loop.deregister(descriptor)
            arena.vacate(index)
            throw .full
        }
        slot.state = .open
        return index
    }

    /// The same way in for a connection that another worker served: its slot is as that one left it.
    ///
    /// False where the socket cannot be watched; it counts as gone then.
    func restore(_ descriptor: Int32, slot index: Int, id: ConnectionID) {
        let slot = arena.slot(index)
        StreamSocket.setUrgentInline(descriptor)
        while locals.count <= index { locals.append(Local()) }
        locals[index] = Local(descriptor: descriptor, generation: slot.generation, id: id)
        queuedBytes += Int(slot.queuedBytes)
        partialBytes += Self.counted(Int(slot.received.capacity))
        if Self.counted(Int(slot.received.capacity)) > 0 { beginPartial(index) }
        guard watch(descriptor, index, slot) else { return markGone(index) }
        if slot.state == .closing {
            unsafe closing.append(index, slot.generation, deadline: loop.now + limits.closeTimeout)
        }
        markDirty(index)
    }

    /// Epoll forgets every socket: an event for one that another process has would come for ever.
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

    /// Every socket is another process's now; the arena too.
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

    /// Marks a socket as over; its slot is released at the turn's end.
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
        // First the slot: a socket without one is closed by a successor, but no slot is left without its socket.
        arena.vacate(index)
        closeDescriptor(descriptor)
    }

    /// Gives back what a great wave of connections needed, once all are gone; true where there was something.
    func shrinkWhenEmpty() -> Bool {
        guard !isAbandoned, count == 0, locals.count > 1024 else { return false }
        locals = []
        dirty = []
        closing = DeadlineQueue()
        later = LaterQueue()
        return true
    }

    /// Cuts connections whose closing handshake takes too long; returns when to look again.
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
        // Whoever finds the delivery undone takes this frame out of the queues again.
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
        // Small frames take more memory than their bytes, and the bound is one of memory.
        let held = Int(slot.queuedBytes) + Self.entryCost * (arena.queueCount(of: slot) + 1)
        // One message always fits, so that nobody is closed for a single one.
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
        // A queue that overflowed will not drain: what can still be taken back is, so that the client learns why.
        if code == CloseReason.tooSlow.code { dropQueue(of: slot) }
        slot.closeCode = code
        beginClosing(handle, slot, payload: FrameEncoder.closePayload(code: code, reason: reason))
    }
}
