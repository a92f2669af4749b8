/// One connection's place in the arena: typed access to its 256 bytes.
///
/// Little-endian, fixed offsets (``Field``); each field is stored by one instruction, so a successor never sees half of
/// one. What is recorded after a system call may lag behind the kernel, which then knows better.
@safe
package struct ArenaSlot {
    package enum State: UInt32, Sendable {
        case vacant = 0
        /// The connection is served.
        case open = 1
        /// A close frame is on its way, or was sent; no further message leaves.
        case closing = 2
    }

    /// Offsets of the fields.
    package enum Field {
        package static let state = 0
        package static let generation = 4
        package static let cookie = 8
        package static let connectedAt = 16
        package static let identity = 24
        package static let identityLength = 28
        package static let identityChecksum = 32
        package static let flags = 36
        package static let readPosition = 40
        package static let receiveChunk = 48
        package static let receiveCapacity = 52
        package static let receiveLength = 56
        package static let sentPosition = 64
        package static let headPosition = 72
        package static let queueChunk = 80
        package static let queueCapacity = 84
        package static let queueHead = 88
        package static let queueTail = 92
        package static let queuedBytes = 96
        package static let reader = 104  // two words
        package static let expiresAt = 120
        package static let lastReceived = 128
        package static let pingSentAt = 136
        package static let rateState = 144
        package static let strikes = 152
        package static let roundTrip = 156
        package static let inlineQueue = 160
        package static let addressPlace = 192
        package static let closeCode = 196
    }

    /// Entries of the queue that fit into the slot itself.
    package static let inlineQueueCapacity = 4

    /// Bits of ``flags``.
    package struct Flags: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        /// The connection is an echo (development only).
        package static let echo = Flags(rawValue: 1)
        /// Our close frame is in the queue or sent.
        package static let closeQueued = Flags(rawValue: 2)
        /// The peer's close frame has come.
        package static let closeReceived = Flags(rawValue: 4)
        /// The peer broke the protocol: what it still sends is thrown away.
        package static let discards = Flags(rawValue: 8)
        /// The client was told that its token ends soon.
        package static let expiryAnnounced = Flags(rawValue: 16)
        /// permessage-deflate was agreed on.
        package static let deflates = Flags(rawValue: 32)
    }

    private let base: UnsafeMutableRawPointer

    /// - Parameter base: the slot's first byte, in memory that outlives this value.
    @unsafe
    package init(base: UnsafeMutableRawPointer) {
        unsafe self.base = base
    }

    package var state: State {
        get { State(rawValue: load(Field.state)) ?? .vacant }
        nonmutating set { store(newValue.rawValue, Field.state) }
    }

    /// Counts the connections that this slot has held.
    package var generation: UInt32 {
        get { load(Field.generation) }
        nonmutating set { store(newValue, Field.generation) }
    }

    /// SO_COOKIE of the socket: ties a descriptor that arrives later to this slot.
    package var cookie: UInt64 {
        get { load(Field.cookie) }
        nonmutating set { store(newValue, Field.cookie) }
    }

    /// UTC, milliseconds since 1970.
    package var connectedAt: Int64 {
        get { load(Field.connectedAt) }
        nonmutating set { store(newValue, Field.connectedAt) }
    }

    /// The chunk that holds who this is (``Arena/setIdentity``); 0: none.
    package var identity: UInt32 {
        get { load(Field.identity) }
        nonmutating set { store(newValue, Field.identity) }
    }

    package var identityLength: UInt32 {
        get { load(Field.identityLength) }
        nonmutating set { store(newValue, Field.identityLength) }
    }

    /// CRC-32 over generation, cookie, connected-at and the identity's bytes.
    package var identityChecksum: UInt32 {
        get { load(Field.identityChecksum) }
        nonmutating set { store(newValue, Field.identityChecksum) }
    }

    package var flags: Flags {
        get { Flags(rawValue: load(Field.flags)) }
        nonmutating set { store(newValue.rawValue, Field.flags) }
    }

    /// Bytes of the client's stream that were received into the arena.
    package var readPosition: UInt64 {
        get { load(Field.readPosition) }
        nonmutating set { store(newValue, Field.readPosition) }
    }

    /// The chunk with received bytes that are not handled yet; 0: none.
    package var receiveChunk: UInt32 {
        get { load(Field.receiveChunk) }
        nonmutating set { store(newValue, Field.receiveChunk) }
    }

    package var receiveCapacity: UInt32 {
        get { load(Field.receiveCapacity) }
        nonmutating set { store(newValue, Field.receiveCapacity) }
    }

    package var receiveLength: UInt32 {
        get { load(Field.receiveLength) }
        nonmutating set { store(newValue, Field.receiveLength) }
    }

    /// Bytes of our stream that the kernel took.
    package var sentPosition: UInt64 {
        get { load(Field.sentPosition) }
        nonmutating set { store(newValue, Field.sentPosition) }
    }

    /// Where in our stream the first queued frame begins.
    package var headPosition: UInt64 {
        get { load(Field.headPosition) }
        nonmutating set { store(newValue, Field.headPosition) }
    }

    /// The chunk that holds the queue when it outgrew the slot; 0: it is in the slot.
    package var queueChunk: UInt32 {
        get { load(Field.queueChunk) }
        nonmutating set { store(newValue, Field.queueChunk) }
    }

    package var queueCapacity: UInt32 {
        get { load(Field.queueCapacity) }
        nonmutating set { store(newValue, Field.queueCapacity) }
    }

    /// Entries that left the queue, ever; the queue holds those from head to tail.
    package var queueHead: UInt32 {
        get { load(Field.queueHead) }
        nonmutating set { store(newValue, Field.queueHead) }
    }

    package var queueTail: UInt32 {
        get { load(Field.queueTail) }
        nonmutating set { store(newValue, Field.queueTail) }
    }

    /// Bytes of the queued frames, what was sent of the first one included.
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

    /// When the connection's token ends, in Unix milliseconds; 0: never.
    package var expiresAt: Int64 {
        get { load(Field.expiresAt) }
        nonmutating set { store(newValue, Field.expiresAt) }
    }

    /// When something was received last (monotonic nanoseconds).
    package var lastReceived: UInt64 {
        get { load(Field.lastReceived) }
        nonmutating set { store(newValue, Field.lastReceived) }
    }

    /// When the ping was sent that is not answered yet (monotonic nanoseconds); 0: none.
    package var pingSentAt: UInt64 {
        get { load(Field.pingSentAt) }
        nonmutating set { store(newValue, Field.pingSentAt) }
    }

    /// The bucket of the client's messages (``RateLimit``).
    package var rateState: UInt64 {
        get { load(Field.rateState) }
        nonmutating set { store(newValue, Field.rateState) }
    }

    /// Messages that were over the rate, less those since that were not.
    package var strikes: UInt32 {
        get { load(Field.strikes) }
        nonmutating set { store(newValue, Field.strikes) }
    }

    /// Of the last ping, in microseconds; 0: none was answered yet.
    package var roundTrip: UInt32 {
        get { load(Field.roundTrip) }
        nonmutating set { store(newValue, Field.roundTrip) }
    }

    /// Where the node's board counts the client's address; -1: nowhere.
    package var addressPlace: Int32 {
        get { load(Field.addressPlace) }
        nonmutating set { store(newValue, Field.addressPlace) }
    }

    /// The code that the connection is closed with, by whichever side said one first; 0: none yet.
    package var closeCode: UInt16 {
        get { load(Field.closeCode) }
        nonmutating set { store(newValue, Field.closeCode) }
    }

    /// The first entry of the queue that lies in the slot itself.
    @unsafe
    package var inlineQueue: UnsafeMutableRawPointer { unsafe base + Field.inlineQueue }

    /// Makes the slot ready for a connection; everything but the generation is zero.
    package func clear(generation: UInt32) {
        unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: ArenaLayout.slotSize)
        self.generation = generation
        queueCapacity = UInt32(Self.inlineQueueCapacity)
        reader = MessageReader()
        addressPlace = -1
    }

    @inline(__always)
    private func load<Value: BitwiseCopyable>(_ offset: Int) -> Value {
        unsafe base.load(fromByteOffset: offset, as: Value.self)
    }

    @inline(__always)
    private func store<Value: BitwiseCopyable>(_ value: Value, _ offset: Int) {
        unsafe base.storeBytes(of: value, toByteOffset: offset, as: Value.self)
    }
}
