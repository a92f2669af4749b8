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
        /// How long a session waits for its client, in nanoseconds; 0: there are no sessions.
        var resumeWindow: UInt64 = 0
        /// The most messages, and bytes of messages, that a session keeps.
        var resumeMessages = 1024
        var resumeBytes = 262_144
        /// The most sessions that wait, and the most bytes that all sessions keep.
        var waitingSessions = 20000
        var sessionBytes = Int.max
        /// The largest message on `/echo`, for conformance suites, which send up to 16 MiB.
        static let echoMessageBytes = 16 * 1024 * 1024
        static let echoQueueBytes = 256 * 1024 * 1024
    }

    /// The bytes that a queued frame takes besides its own: its entry in the queue, and the rounding of its chunk.
    static let entryCost = 136

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
    /// Sessions that wait for their clients, in the order in which they began, and how many of them there are.
    var waits = DeadlineQueue()
    var waitingCount = 0
    /// How many bytes the messages have that sessions keep: those that were sent, and all of those that wait.
    var sessionBytes = 0
    /// How many of them belong to sessions that have ended while they waited, in this turn.
    var endingBytes = 0
    /// Connections whose sessions have moved to another slot, where the manager must look for them.
    var moves: [(from: Int, to: Int)] = []
    /// The last sessions that ended because they could not take a message.
    var lostSessions: [ConnectionID] = []
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
    var count: Int { isAbandoned ? 0 : arena.slotsInUse - waitingCount }
    private var isAbandoned = false

    /// Returns the id of the connection that has a slot.
    ///
    /// It is empty for a slot that no connection of ours has.
    func id(_ index: Int) -> ConnectionID {
        let slot = arena.slot(index)
        return ConnectionID(
            locals[index].descriptor < 0 && slot.state != .waiting ? "" : arena.connectionID(of: slot)
        )
    }

    /// Returns true if an event belongs to the connection that has the slot now.
    func isCurrent(_ slot: Int, generation: UInt32) -> Bool {
        locals.indices.contains(slot) && locals[slot].descriptor >= 0
            && locals[slot].generation & 0xFF_FFFF == generation
    }

    // MARK: Coming and going

    /// Adds a connection that another worker served, with its slot as that worker left it.
    ///
    /// If the socket cannot be watched, it counts as gone.
    func restore(_ descriptor: Int32, slot index: Int) {
        let slot = arena.slot(index)
        StreamSocket.setUrgentInline(descriptor)
        while locals.count <= index { locals.append(Local()) }
        locals[index] = Local(descriptor: descriptor, generation: slot.generation)
        queuedBytes += Int(slot.queuedBytes)
        sessionBytes += Int(slot.keptBytes)
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
        waits = DeadlineQueue()
        isAbandoned = true
    }

    func watch(_ descriptor: Int32, _ index: Int, _ slot: ArenaSlot) -> Bool {
        let token = EventToken(.socket, index: index, generation: slot.generation)
        return (try? loop.register(descriptor, token: token.rawValue, interest: .readable)) != nil
    }

    /// Marks a socket as over; its slot is released at the end of the turn.
    func markGone(_ slot: Int) {
        guard locals.indices.contains(slot), !locals[slot].isGone else { return }
        locals[slot].isGone = true
        if isWaiting(slot) { endingBytes += Int(arena.slot(slot).queuedBytes) }
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
        sessionBytes -= Int(slot.keptBytes)
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
        guard !isAbandoned, count == 0, waitingCount == 0, locals.count > 1024 else { return false }
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

    func send(_ plain: PreparedFrame, to handle: Int) -> SendOutcome {
        let slot = arena.slot(handle)
        let flags = slot.flags
        guard slot.state == .open, !locals[handle].isGone else {
            let holds = flags.contains(.session) && slot.state != .closing
            return holds ? hold(plain, slot, handle) : .failed(.closed)
        }
        var frame = plain
        if !flags.isDisjoint(with: .otherForms) {
            guard let other = form(of: plain, for: slot) else { return .failed(.outOfMemory) }
            frame = other
        }
        let count = arena.queueCount(of: slot)
        // One message always fits, so that no connection is closed because of a single one.
        if count > 0 {
            let limit = flags.contains(.echo) ? Limits.echoQueueBytes : limits.queueBytes + replayRoom(flags)
            // Small frames take more memory than their bytes, and the limit is one of memory.
            let held = Int(slot.queuedBytes) + Self.entryCost * (count + 1)
            if held + Int(frame.byteCount) > limit { return .failed(.queueFull) }
        }
        let isCounted = flags.contains(.session) && isText(plain)
        guard arena.append(frame.reference, byteCount: frame.byteCount, isCounted: isCounted, to: slot) else {
            return .failed(.outOfMemory)
        }
        queuedBytes += Int(frame.byteCount)
        markDirty(handle)
        Fault.at(.delivery)
        return .queued
    }

    /// Closes a connection, and ends its session.
    func close(_ handle: Int, code: UInt16, reason: String) {
        let slot = arena.slot(handle)
        if code == CloseReason.tooSlow.code || code == CloseReason.internalError.code { noteLost(handle) }
        guard slot.state == .open, !locals[handle].isGone else { return endSession(handle, slot) }
        // A queue that has overflowed will not drain: drop what can still be dropped, so that the client learns why.
        if code == CloseReason.tooSlow.code { dropQueue(of: slot) }
        slot.closeCode = code
        beginClosing(handle, slot, payload: FrameEncoder.closePayload(code: code, reason: reason))
    }

    /// Returns the form of a frame that a connection takes; nil if there is no memory.
    private func form(of plain: PreparedFrame, for slot: ArenaSlot) -> PreparedFrame? {
        slot.flags.contains(.events) ? event(of: plain) : compressed(plain, window: slot.deflateWindow)
    }
}
