// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A record of what a shard is doing and what it has done, for its successor.
///
/// Because of a crash, three things could be done twice or get lost. One store decides each of them: whether a delivery
/// to many connections was done (``commit()``), whether a client's message was handled (``endHandling()``), and which
/// requests of other processes have their answer (``remember(_:)``).
@safe
package struct ArenaJournal {
    enum Field {
        // The header's own bytes come before these.
        static let begun = 64
        static let done = 72
        static let frame = 80
        static let twin = 84
        static let handlingSlot = 88
        static let handlingStart = 92
        static let handlingTail = 96
        static let handlingState = 100
        static let handlingFlags = 104
        static let slotsUsed = 108
        static let bindings = 112
        static let answers = 120
        static let ringNext = 128
        static let batchCorrelation = 136
        static let batchSource = 144
        static let batchChunk = 148
        static let askedSource = 152
        static let askedAttempts = 156
        static let askedCorrelation = 160
        static let receivingSlot = 168
        static let handlingReceived = 216
        static let moveFrom = 220
        static let moveTo = 224
        // For events, rooms' logs and bans, which are not there yet: a successor claims what they refer to.
        static let furtherTables = 232  // six words
        static let furtherTwinsOf = 280  // the delivery that they belong to
        static let furtherTwins = 288  // a count, and fifteen frames
    }

    /// A client's message that was being handled.
    package struct Handling: Equatable, Sendable {
        package let slot: Int
        /// The value of ``ArenaSlot/ReceiveBuffer/handled`` before the message.
        package let handled: UInt32
        /// The tail of the client's own queue before the message; its state and flags follow.
        package let queueTail: UInt32
        package let state: UInt32
        package let flags: UInt32
        /// The value of ``ArenaSlot/messagesReceived`` before the message.
        package let messagesReceived: UInt32
    }

    /// A batch that another process asked for, while its publishes are carried out.
    package struct BatchUnderWay: Equatable, Sendable {
        package let source: UInt16
        package let correlation: UInt64
        /// The chunk with the receipts of the publishes that are done.
        package let chunk: UInt32

        package init(source: UInt16, correlation: UInt64, chunk: UInt32) {
            self.source = source
            self.correlation = correlation
            self.chunk = chunk
        }
    }

    private let base: UnsafeMutableRawPointer
    private let ring: UnsafeMutableRawPointer

    /// Makes access to the journal of an arena.
    ///
    /// - Parameters:
    ///   - base: The arena's first byte.
    ///   - ring: The first of the ring's entries.
    @unsafe
    init(base: UnsafeMutableRawPointer, ring: UnsafeMutableRawPointer) {
        unsafe self.base = base
        unsafe self.ring = ring
    }

    // MARK: Deliveries

    /// The number of the last delivery that was done.
    package var done: UInt64 { load(Field.done) }

    /// Begins a delivery, which counts as not done until ``commit()``.
    package func begin() {
        store(UInt32(0), Field.frame)
        store(UInt32(0), Field.twin)
        atomicMemoryFence(ordering: .releasing)
        store(done &+ 1, Field.begun)
    }

    /// Notes the frame that the delivery appends to queues.
    package func note(frame: UInt32) {
        store(frame, Field.frame)
        atomicMemoryFence(ordering: .releasing)
    }

    /// Notes another form (a twin) of the delivery's frame: compressed, for each window, or as a server-sent event.
    ///
    /// A frame that does not belong to a delivery need not be noted.
    package func note(twin: UInt32, of frame: UInt32) {
        guard begun != done, load(Field.frame) == frame else { return }
        if load(Field.twin) == UInt32(0) {
            store(twin, Field.twin)
        } else {
            let count = furtherTwins
            store(count, Field.furtherTwins)
            atomicMemoryFence(ordering: .releasing)
            store(begun, Field.furtherTwinsOf)
            guard count < Self.mostFurtherTwins else { return }
            store(twin, Field.furtherTwins + 4 * Int(count + 1))
            atomicMemoryFence(ordering: .releasing)
            store(count + 1, Field.furtherTwins)
        }
        atomicMemoryFence(ordering: .releasing)
    }

    private static let mostFurtherTwins: UInt32 = 15

    /// How many further twins are noted for the current delivery; what another delivery or version has left is ignored.
    private var furtherTwins: UInt32 {
        load(Field.furtherTwinsOf) == begun ? min(load(Field.furtherTwins), Self.mostFurtherTwins) : 0
    }

    /// Marks the delivery as done, with everything that was recorded about it.
    package func commit() {
        atomicMemoryFence(ordering: .releasing)
        store(load(Field.begun) as UInt64, Field.done)
    }

    /// The number of the delivery that was begun last.
    package var begun: UInt64 { load(Field.begun) }

    /// The frames of a delivery that was begun and is not done: the plain frame, and its twins.
    package var unfinished: [UInt32]? {
        guard begun == done &+ 1 else { return nil }
        let further = (0..<Int(furtherTwins)).map { load(Field.furtherTwins + 4 * ($0 + 1)) as UInt32 }
        return ([load(Field.frame), load(Field.twin)] + further).filter { $0 != 0 }
    }

    /// Notes that the unfinished delivery was undone, and counts one more attempt at the request that asked for it.
    package func abandonUnfinished() {
        store((load(Field.askedAttempts) as UInt32) &+ 1, Field.askedAttempts)
        store(done, Field.begun)
    }

    /// Notes the request for the next delivery, and returns how often a worker has ended while it carried this out.
    package func beginAsked(source: UInt16, correlation: UInt64) -> Int {
        if load(Field.askedSource) == UInt32(source) + 1, load(Field.askedCorrelation) == correlation {
            return Int(load(Field.askedAttempts) as UInt32)
        }
        store(UInt32(0), Field.askedSource)
        atomicMemoryFence(ordering: .releasing)
        store(UInt32(0), Field.askedAttempts)
        store(correlation, Field.askedCorrelation)
        atomicMemoryFence(ordering: .releasing)
        store(UInt32(source) + 1, Field.askedSource)
        return 0
    }

    /// Notes that no other process has asked for the next delivery.
    package func endAsked() { store(UInt32(0), Field.askedSource) }

    // MARK: Receiving

    /// Notes that bytes of a connection are being received.
    ///
    /// Until ``endReceiving()`` the kernel may have counted more bytes than the slot says. A successor accepts this for
    /// no other slot: whatever the kernel has counted there, the bytes are not in the arena.
    package func beginReceiving(_ index: Int) {
        store(UInt32(index + 1), Field.receivingSlot)
        atomicMemoryFence(ordering: .releasing)
    }

    /// Notes that the slot says again how much of its connection was received.
    package func endReceiving() {
        atomicMemoryFence(ordering: .releasing)
        store(UInt32(0), Field.receivingSlot)
    }

    /// The slot whose connection was being received.
    package var receiving: Int? {
        let slot: UInt32 = load(Field.receivingSlot)
        return slot == 0 ? nil : Int(slot) - 1
    }

    // MARK: Handling

    /// Notes that a client's message is being handled: a successor undoes what is done before ``endHandling()``.
    package func beginHandling(_ index: Int, _ slot: ArenaSlot, handled: Int) {
        store(UInt32(handled), Field.handlingStart)
        store(slot.queueTail, Field.handlingTail)
        store(slot.state.rawValue, Field.handlingState)
        store(slot.flags.rawValue, Field.handlingFlags)
        store(slot.messagesReceived, Field.handlingReceived)
        atomicMemoryFence(ordering: .releasing)
        store(UInt32(index + 1), Field.handlingSlot)
    }

    package func endHandling() {
        atomicMemoryFence(ordering: .releasing)
        store(UInt32(0), Field.handlingSlot)
    }

    package var handling: Handling? {
        let slot: UInt32 = load(Field.handlingSlot)
        guard slot > 0 else { return nil }
        return Handling(
            slot: Int(slot) - 1,
            handled: load(Field.handlingStart),
            queueTail: load(Field.handlingTail),
            state: load(Field.handlingState),
            flags: load(Field.handlingFlags),
            messagesReceived: load(Field.handlingReceived)
        )
    }

    // MARK: Tables

    /// How many slots were ever used.
    package var slotsUsed: UInt32 {
        get { load(Field.slotsUsed) }
        nonmutating set { store(newValue, Field.slotsUsed) }
    }

    /// The word of an ``ArenaTable``: its chunk and its capacity.
    package subscript(table: ArenaTable.Kind) -> UInt64 {
        get { load(offset(table)) }
        nonmutating set {
            atomicMemoryFence(ordering: .releasing)
            store(newValue, offset(table))
        }
    }

    private func offset(_ table: ArenaTable.Kind) -> Int {
        switch table {
        case .bindings: Field.bindings
        case .answers: Field.answers
        case .further(let number): Field.furtherTables + 8 * number
        }
    }

    // MARK: Batches

    /// The size of the chunk of a ``BatchUnderWay``, which has room for the receipt of each publish.
    ///
    /// A receipt is its length in one byte, its bytes, and in the last eight bytes the number of the delivery with
    /// which it becomes valid (0: there is no receipt).
    package static let batchReceiptBytes = BatchCoding.mostPublishes * batchReceiptSize
    package static let batchReceiptSize = 40
    package static let batchReceiptText = 32

    package var batch: BatchUnderWay? {
        get {
            let source: UInt32 = load(Field.batchSource)
            guard source > 0 else { return nil }
            return BatchUnderWay(
                source: UInt16(truncatingIfNeeded: source - 1),
                correlation: load(Field.batchCorrelation),
                chunk: load(Field.batchChunk)
            )
        }
        nonmutating set {
            store(UInt32(0), Field.batchSource)
            guard let newValue else { return }
            atomicMemoryFence(ordering: .releasing)
            store(newValue.correlation, Field.batchCorrelation)
            store(newValue.chunk, Field.batchChunk)
            atomicMemoryFence(ordering: .releasing)
            store(UInt32(newValue.source) + 1, Field.batchSource)
        }
    }

    // MARK: The ring

    /// A request of another process that was answered.
    package struct Answered: Equatable, Sendable {
        /// The bytes of a reply that lie in the entry itself.
        package static let mostInline = 32

        package var source: UInt16
        package var correlation: UInt64
        /// The delivery with which the answer becomes valid: if it is after ``ArenaJournal/done``, there was no answer.
        package var delivery: UInt64
        package var reply: Reply

        package enum Reply: Equatable, Sendable {
            case bytes([UInt8])
            /// The first `count` bytes of a chunk.
            case chunk(UInt32, count: Int)
        }

        package init(source: UInt16, correlation: UInt64, delivery: UInt64, reply: Reply) {
            self.source = source
            self.correlation = correlation
            self.delivery = delivery
            self.reply = reply
        }
    }

    /// The entry for the next answer.
    private var ringNext: Int {
        let next: UInt32 = load(Field.ringNext)
        return Int(next) % ArenaLayout.ringCapacity
    }

    /// Writes an answer over the oldest one, and returns the chunk that the oldest one had.
    package func remember(_ answer: Answered) -> UInt32? {
        let index = ringNext
        let old = entry(index)
        let place = unsafe ring + index * ArenaLayout.ringEntrySize
        unsafe place.storeBytes(of: 0, as: UInt64.self)
        atomicMemoryFence(ordering: .releasing)
        unsafe place.storeBytes(of: answer.correlation, toByteOffset: 8, as: UInt64.self)
        unsafe place.storeBytes(of: answer.source, toByteOffset: 16, as: UInt16.self)
        switch answer.reply {
        case .bytes(let bytes):
            unsafe place.storeBytes(of: UInt32(0), toByteOffset: 24, as: UInt32.self)
            unsafe place.storeBytes(of: UInt32(bytes.count), toByteOffset: 20, as: UInt32.self)
            for (offset, byte) in bytes.prefix(Answered.mostInline).enumerated() {
                unsafe place.storeBytes(of: byte, toByteOffset: 28 + offset, as: UInt8.self)
            }
        case .chunk(let chunk, let count):
            unsafe place.storeBytes(of: UInt32(count), toByteOffset: 20, as: UInt32.self)
            unsafe place.storeBytes(of: chunk, toByteOffset: 24, as: UInt32.self)
        }
        atomicMemoryFence(ordering: .releasing)
        // Plus one, because zero means that there is no answer.
        unsafe place.storeBytes(of: answer.delivery + 1, as: UInt64.self)
        store(UInt32((index + 1) % ArenaLayout.ringCapacity), Field.ringNext)
        if case .chunk(let chunk, _)? = old?.reply { return chunk }
        return nil
    }

    /// The answers that the ring holds.
    package var answers: [Answered] { (0..<ArenaLayout.ringCapacity).compactMap(entry).filter { $0.delivery <= done } }

    private func entry(_ index: Int) -> Answered? {
        let place = unsafe ring + index * ArenaLayout.ringEntrySize
        let delivery = unsafe place.load(as: UInt64.self)
        guard delivery > 0 else { return nil }
        let count = Int(unsafe place.load(fromByteOffset: 20, as: UInt32.self))
        let chunk = unsafe place.load(fromByteOffset: 24, as: UInt32.self)
        let inline = unsafe UnsafeRawBufferPointer(start: place + 28, count: Answered.mostInline)
        let reply: Answered.Reply
        if chunk == 0 {
            reply = unsafe .bytes(Array(inline.prefix(count)))
        } else {
            reply = .chunk(chunk, count: count)
        }
        return Answered(
            source: unsafe place.load(fromByteOffset: 16, as: UInt16.self),
            correlation: unsafe place.load(fromByteOffset: 8, as: UInt64.self),
            delivery: delivery - 1,
            reply: reply
        )
    }

    /// Forgets answers that are not valid, and those whose chunk `keep` refuses.
    func keepAnswers(_ keep: (_ chunk: UInt32, _ count: Int) -> Bool) {
        for index in 0..<ArenaLayout.ringCapacity {
            guard let answer = entry(index) else { continue }
            var isKept = answer.delivery <= done
            if isKept, case .chunk(let chunk, let count) = answer.reply { isKept = keep(chunk, count) }
            if isKept { continue }
            unsafe (ring + index * ArenaLayout.ringEntrySize).storeBytes(of: 0, as: UInt64.self)
        }
    }

    func load<Value: BitwiseCopyable>(_ offset: Int) -> Value {
        unsafe base.load(fromByteOffset: offset, as: Value.self)
    }

    func store<Value: BitwiseCopyable>(_ value: Value, _ offset: Int) {
        unsafe base.storeBytes(of: value, toByteOffset: offset, as: Value.self)
    }
}
