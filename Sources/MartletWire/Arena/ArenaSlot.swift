// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// One connection's place in the arena: typed access to its 256 bytes.
///
/// Fields are little-endian and have fixed offsets (``Field``). Each is stored by one instruction, so a successor never
/// sees half a field. What is recorded after a system call may lag behind the kernel, which then knows better.
@safe
package struct ArenaSlot {
    package enum State: UInt32, Sendable {
        case vacant = 0
        /// The connection is served.
        case open = 1
        /// A close frame is queued or was sent; no further messages are sent.
        case closing = 2
        /// A session waits for its client: there is no socket.
        case waiting = 3

        // The one that the compiler makes calls through the protocol.
        @inlinable package static func == (left: State, right: State) -> Bool { left.rawValue == right.rawValue }
    }

    /// Offsets of the fields.
    package enum Field {
        package static let state = 0
        package static let generation = 4
        package static let cookie = 8
        package static let connectedAt = 16
        package static let identity = 24
        package static let flags = 28
        package static let head = 32
        package static let queueTail = 40
        package static let attempts = 44
        package static let queueStore = 48
        package static let sentPosition = 56
        package static let queuedBytes = 64
        package static let receiveTurn = 72
        package static let receiving = 80  // two records of 24 bytes
        package static let reader = 128  // two words
        package static let expiresAt = 144
        package static let lastReceived = 152
        package static let pingSentAt = 160
        package static let rateState = 168
        package static let strikes = 176
        package static let roundTrip = 180
        package static let addressPlace = 184
        package static let closeCode = 188
        package static let userSlot = 190
        package static let inlineQueue = 192  // four entries of 8 bytes
        package static let kept = 224
        package static let messagesReceived = 232
        package static let resumes = 236
        package static let waitingSince = 240
        package static let keptBytes = 248
        // 252: four bytes for the events of a client, which are not there yet.
    }

    /// How many entries of the queue fit into the slot itself.
    package static let inlineQueueCapacity = 4

    /// What was received of a client's stream and is not handled yet.
    package struct ReceiveBuffer: Equatable, Sendable {
        /// A value of ``chunk`` that means that the bytes are in the arena's landing.
        package static let landing = UInt32.max

        /// The chunk that holds the bytes; 0: there are none.
        package var chunk: UInt32 = 0
        package var capacity: UInt32 = 0
        package var length: UInt32 = 0
        /// How many bytes at the front have been handled for good.
        package var handled: UInt32 = 0
        /// How many bytes the client's stream has up to the end of the buffer.
        package var position: UInt64

        package init(
            chunk: UInt32 = 0,
            capacity: UInt32 = 0,
            length: UInt32 = 0,
            handled: UInt32 = 0,
            position: UInt64
        ) {
            self.chunk = chunk
            self.capacity = capacity
            self.length = length
            self.handled = handled
            self.position = position
        }
    }

    /// Bits of ``flags``; looked at for every frame, so other targets get to see how.
    package struct Flags: OptionSet, Sendable {
        package let rawValue: UInt32
        @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }
        /// The connection is an echo (development only).
        @inlinable package static var echo: Flags { Flags(rawValue: 1) }
        /// Our close frame is in the queue or sent.
        @inlinable package static var closeQueued: Flags { Flags(rawValue: 2) }
        /// The peer's close frame has come.
        @inlinable package static var closeReceived: Flags { Flags(rawValue: 4) }
        /// The peer broke the protocol: what it still sends is thrown away.
        @inlinable package static var discards: Flags { Flags(rawValue: 8) }
        /// The client was told that its token expires soon.
        @inlinable package static var expiryAnnounced: Flags { Flags(rawValue: 16) }
        /// permessage-deflate was agreed on.
        @inlinable package static var deflates: Flags { Flags(rawValue: 32) }
        /// The connection is a session, which outlives its socket.
        @inlinable package static var session: Flags { Flags(rawValue: 0x200) }
        /// A message of the client was handled on this socket: so it has the session's newest token.
        @inlinable package static var tokenArrived: Flags { Flags(rawValue: 0x400) }
        /// The client reads server-sent events, and writes nothing on this socket.
        @inlinable package static var events: Flags { Flags(rawValue: 0x800) }
        /// The bits of clients that do not take frames as they are.
        @inlinable package static var otherForms: Flags { Flags(rawValue: 0x820) }
        /// All bits that are used: those above, and the three bits of ``ArenaSlot/deflateWindow``.
        package static let known = Flags(rawValue: 0xFFF)
        /// Those of the version before.
        static let knownBefore = Flags(rawValue: 0x1FF)
        static let windowShift: UInt32 = 6
        package static let window = Flags(rawValue: 7 << windowShift)

        @inlinable package func isDisjoint(with other: Flags) -> Bool { rawValue & other.rawValue == 0 }

        @inlinable package func contains(_ other: Flags) -> Bool { rawValue & other.rawValue == other.rawValue }
    }

    private let base: UnsafeMutableRawPointer

    /// Makes access to a slot.
    ///
    /// - Parameter base: The slot's first byte, in memory that outlives this value.
    @unsafe
    package init(base: UnsafeMutableRawPointer) {
        unsafe self.base = base
    }

    package var state: State {
        get { State(rawValue: load(Field.state)) ?? .vacant }
        nonmutating set { store(newValue.rawValue, Field.state) }
    }

    /// The number of connections that this slot has held.
    package var generation: UInt32 {
        get { load(Field.generation) }
        nonmutating set { store(newValue, Field.generation) }
    }

    /// SO_COOKIE of the socket, by which a descriptor that arrives later is matched with this slot.
    package var cookie: UInt64 {
        get { load(Field.cookie) }
        nonmutating set { store(newValue, Field.cookie) }
    }

    /// When it connected: UTC, in milliseconds since 1970.
    package var connectedAt: Int64 {
        get { load(Field.connectedAt) }
        nonmutating set { store(newValue, Field.connectedAt) }
    }

    /// The chunk that holds the connection's identity (``Arena/setIdentity``); 0: none.
    package var identity: UInt32 {
        get { load(Field.identity) }
        nonmutating set { store(newValue, Field.identity) }
    }

    package var flags: Flags {
        get { Flags(rawValue: load(Field.flags)) }
        nonmutating set { store(newValue.rawValue, Field.flags) }
    }

    /// The window of compressed messages to the client, as a power of two, 8 to 15.
    package var deflateWindow: Int {
        get {
            let bits = (flags.rawValue & Flags.window.rawValue) >> Flags.windowShift
            return MessageDeflate.largestWindow - Int(bits)
        }
        nonmutating set {
            let bits = UInt32(MessageDeflate.largestWindow - newValue) << Flags.windowShift
            flags = Flags(rawValue: flags.subtracting(.window).rawValue | bits)
        }
    }

    /// What was received and is not handled yet.
    ///
    /// There are two copies: the new value is written beside the old one, and then one store makes it valid, so that a
    /// successor finds the one or the other.
    package var received: ReceiveBuffer {
        get {
            let place = Field.receiving + 24 * Int(turn)
            let chunk: UInt64 = load(place)
            let counts: UInt64 = load(place + 8)
            return ReceiveBuffer(
                chunk: UInt32(truncatingIfNeeded: chunk),
                capacity: UInt32(chunk >> 32),
                length: UInt32(truncatingIfNeeded: counts),
                handled: UInt32(counts >> 32),
                position: load(place + 16)
            )
        }
        nonmutating set {
            let next = turn ^ 1
            let place = Field.receiving + 24 * Int(next)
            store(UInt64(newValue.capacity) << 32 | UInt64(newValue.chunk), place)
            store(UInt64(newValue.handled) << 32 | UInt64(newValue.length), place + 8)
            store(newValue.position, place + 16)
            atomicMemoryFence(ordering: .releasing)
            store(next, Field.receiveTurn)
        }
    }

    private var turn: UInt32 { load(Field.receiveTurn) & 1 }

    /// Notes that one more message of the buffer was handled: bytes up to here will not be read again.
    package func markHandled(_ count: Int) {
        store(UInt32(count), Field.receiving + 24 * Int(turn) + 12)
    }

    /// How many bytes of our stream the kernel has taken, as far as this was recorded.
    package var sentPosition: UInt64 {
        get { load(Field.sentPosition) }
        nonmutating set { store(newValue, Field.sentPosition) }
    }

    /// How many entries have ever left the queue, and the low half of the position where the first queued frame begins.
    ///
    /// Both are in one word, so that a frame has left the queue completely or not at all.
    package var head: QueueHead {
        get {
            let word: UInt64 = load(Field.head)
            return QueueHead(entries: UInt32(truncatingIfNeeded: word), position: UInt32(word >> 32))
        }
        nonmutating set { store(UInt64(newValue.position) << 32 | UInt64(newValue.entries), Field.head) }
    }

    /// The position in our stream where the first queued frame begins.
    package var headPosition: UInt64 {
        let sent = sentPosition
        return sent &- UInt64(UInt32(truncatingIfNeeded: sent) &- head.position)
    }

    package var queueHead: UInt32 { head.entries }

    /// The number of the first entry that the queue holds, whether it was sent or not.
    package var queueStart: UInt32 { flags.contains(.session) ? kept.entries : head.entries }

    /// How many entries were ever appended; the queue holds those from head to tail.
    package var queueTail: UInt32 {
        get { load(Field.queueTail) }
        nonmutating set { store(newValue, Field.queueTail) }
    }

    /// How many crashes there were while the next message of this client was being handled.
    package var attempts: UInt32 {
        get { load(Field.attempts) }
        nonmutating set { store(newValue, Field.attempts) }
    }

    /// The place of the queue's entries.
    package var queueStore: QueueStore {
        get {
            let word: UInt64 = load(Field.queueStore)
            return QueueStore(chunk: UInt32(truncatingIfNeeded: word), capacity: UInt32(word >> 32))
        }
        nonmutating set { store(UInt64(newValue.capacity) << 32 | UInt64(newValue.chunk), Field.queueStore) }
    }

    /// How many bytes the queued frames have, including those of the first one that were already sent.
    package var queuedBytes: UInt64 {
        get { load(Field.queuedBytes) }
        nonmutating set { store(newValue, Field.queuedBytes) }
    }

    /// The state of the receiving codec, in two words (``MessageReader/Record``).
    package var reader: MessageReader {
        get { MessageReader(.init(positions: load(Field.reader), state: load(Field.reader + 8))) }
        nonmutating set {
            let record = newValue.record
            store(record.positions, Field.reader)
            store(record.state, Field.reader + 8)
        }
    }

    /// When the connection's token expires, in Unix milliseconds; 0: never.
    package var expiresAt: Int64 {
        get { load(Field.expiresAt) }
        nonmutating set { store(newValue, Field.expiresAt) }
    }

    /// When something was last received (monotonic nanoseconds).
    package var lastReceived: UInt64 {
        get { load(Field.lastReceived) }
        nonmutating set { store(newValue, Field.lastReceived) }
    }

    /// When the ping was sent that has not been answered yet (monotonic nanoseconds); 0: there is none.
    package var pingSentAt: UInt64 {
        get { load(Field.pingSentAt) }
        nonmutating set { store(newValue, Field.pingSentAt) }
    }

    /// The bucket of the client's messages (``RateLimit``).
    package var rateState: UInt64 {
        get { load(Field.rateState) }
        nonmutating set { store(newValue, Field.rateState) }
    }

    /// How many messages exceeded the rate, minus those since then that did not.
    package var strikes: UInt32 {
        get { load(Field.strikes) }
        nonmutating set { store(newValue, Field.strikes) }
    }

    /// The round-trip time of the last ping, in microseconds; 0: none was answered yet.
    package var roundTrip: UInt32 {
        get { load(Field.roundTrip) }
        nonmutating set { store(newValue, Field.roundTrip) }
    }

    /// The place where the node's board counts the client's address; -1: nowhere.
    package var addressPlace: Int32 {
        get { load(Field.addressPlace) }
        nonmutating set { store(newValue, Field.addressPlace) }
    }

    /// The code with which the connection is closed, from the side that sent one first; 0: none yet.
    package var closeCode: UInt16 {
        get { load(Field.closeCode) }
        nonmutating set { store(newValue, Field.closeCode) }
    }

    /// The hash slot of the user (``MartletCore/ShardMap``), by which the shard is found without reading the identity.
    package var userSlot: UInt16 {
        get { load(Field.userSlot) }
        nonmutating set { store(newValue, Field.userSlot) }
    }

    /// The first entry of the queue that lies in the slot itself.
    @unsafe
    package var inlineQueue: UnsafeMutableRawPointer { unsafe base + Field.inlineQueue }

    /// Makes the slot ready for a connection.
    package func clear(generation: UInt32) {
        unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: ArenaLayout.slotSize)
        self.generation = generation
        queueStore = .inSlot
        reader = MessageReader()
        addressPlace = -1
    }

    @inline(__always)
    func load<Value: BitwiseCopyable>(_ offset: Int) -> Value {
        unsafe base.load(fromByteOffset: offset, as: Value.self)
    }

    @inline(__always)
    func store<Value: BitwiseCopyable>(_ value: Value, _ offset: Int) {
        unsafe base.storeBytes(of: value, toByteOffset: offset, as: Value.self)
    }
}
