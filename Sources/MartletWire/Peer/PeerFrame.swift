/// What a frame between supervisor and worker is.
package enum PeerKind: UInt8, Sendable {
    /// Worker to supervisor: I serve.
    case ready = 1
    /// Worker to supervisor: I am alive, and these are my statistics.
    case alive = 2
    /// Supervisor to worker: close your clients and exit.
    case stop = 3
    /// Supervisor to worker: the state of every shard.
    case shardStates = 4
    /// A ``Command``, from whoever asks to whoever owns.
    case command = 5
    /// A ``CommandReply``, back.
    case reply = 6
    /// Worker to supervisor: a line for the log.
    case log = 7
    /// Worker to supervisor: ``RoomChanges`` of its shard, in pieces; the last one has a correlation other than 0.
    case rooms = 8
    /// Supervisor to worker: the changes of that correlation are noted; publishes are sent accordingly from now on.
    case roomsNoted = 9
    /// Supervisor to a worker that inherits: the worker before moves nothing any more, take its sockets.
    ///
    /// Where there are several such (a new number of shards): the number of the one whose turn it is, in two bytes.
    case takeOver = 10
    /// Worker to supervisor: I hold them (``Adoption``), and have changed nothing yet.
    case adopted = 11
    /// Supervisor to worker: the shard is yours.
    case commit = 12
    /// Worker to supervisor: all rooms of its shard (``RoomChanges``), in place of what was known.
    ///
    /// They come in pieces; the correlation says how many are still to come, and with the last one they count.
    case allRooms = 13
    /// Worker to supervisor: what the take-over came to (``Adoption``); it serves.
    case recovered = 14
    /// Supervisor to worker: stop reading and writing clients, another worker is about to take them over.
    case freeze = 15
    /// Worker to supervisor: nothing moves any more, and all that was asked is answered.
    case frozen = 16
    /// Supervisor to worker: it came to nothing, go on.
    case thaw = 17
    /// Supervisor to worker: the shard is another's; answer whoever speaks HTTP to you, then exit.
    case retire = 18
}

/// Whom a frame comes from or goes to.
package enum PeerAddress {
    /// The supervisor itself.
    package static let supervisor: UInt16 = 0xFFFE
    /// Every shard: the switchboard sends it on to each.
    package static let everyShard: UInt16 = 0xFFFF
    /// The shards where a room has members: the switchboard knows which.
    package static let room: UInt16 = 0xFFFD
}

/// The fixed head of a frame between supervisor and worker; all that the switchboard reads of most frames.
///
/// 24 bytes, little-endian: magic, version, kind, zero, source (2), destination (2), correlation (8), map generation
/// (4), payload length (4).
package struct PeerHeader: Equatable, Sendable {
    package static let length = 24
    /// The largest payload: a message of the largest size with its address, or the users of a large shard.
    package static let largestPayload = 67_108_864
    private static let magic: UInt8 = 0x4D
    private static let version: UInt8 = 1

    package var kind: PeerKind
    package var source: UInt16
    package var destination: UInt16
    /// The requester's number of a command and its reply; what ``PeerKind/rooms``, ``PeerKind/allRooms`` and
    /// ``PeerKind/roomsNoted`` say by it stands there; 0 elsewhere.
    package var correlation: UInt64 = 0
    /// The ``ShardMap`` generation that a command was routed with.
    package var mapGeneration: UInt32 = 0
    package var payloadLength: Int

    package init(
        kind: PeerKind,
        source: UInt16,
        destination: UInt16,
        correlation: UInt64 = 0,
        mapGeneration: UInt32 = 0,
        payloadLength: Int
    ) {
        self.kind = kind
        self.source = source
        self.destination = destination
        self.correlation = correlation
        self.mapGeneration = mapGeneration
        self.payloadLength = payloadLength
    }

    /// Writes the head behind what `bytes` holds; the payload goes behind it.
    package func write(to bytes: inout [UInt8]) {
        bytes.append(contentsOf: [Self.magic, Self.version, kind.rawValue, 0])
        put(source, 2, &bytes)
        put(destination, 2, &bytes)
        put(correlation, 8, &bytes)
        put(mapGeneration, 4, &bytes)
        put(UInt32(payloadLength), 4, &bytes)
    }

    /// The head at `offset`; nil where it is not complete yet.
    package static func parse(_ bytes: [UInt8], at offset: Int) throws(WireError) -> PeerHeader? {
        guard bytes.count - offset >= length else { return nil }
        guard bytes[offset] == magic, bytes[offset + 1] == version else { throw .wrongVersion }
        guard let kind = PeerKind(rawValue: bytes[offset + 2]) else { throw .unknownValue }
        func integer(_ start: Int, _ size: Int) -> UInt64 {
            (0..<size).reduce(0) { $0 | UInt64(bytes[offset + start + $1]) << (8 * UInt64($1)) }
        }
        let payloadLength = Int(integer(20, 4))
        guard payloadLength <= largestPayload else { throw .tooLong }
        return PeerHeader(
            kind: kind,
            source: UInt16(integer(4, 2)),
            destination: UInt16(integer(6, 2)),
            correlation: integer(8, 8),
            mapGeneration: UInt32(integer(16, 4)),
            payloadLength: payloadLength
        )
    }

    private func put(_ value: some FixedWidthInteger, _ size: Int, _ bytes: inout [UInt8]) {
        for index in 0..<size { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index))) }
    }
}

/// A stream of frames in both directions, without its socket: bytes in, frames out, and the other way round.
package struct PeerStream {
    /// A frame that came in; its payload is `input[payload]` until the next call of ``next()``.
    package struct Frame: Equatable, Sendable {
        package let header: PeerHeader
        package let payload: Range<Int>
    }

    /// What was received; the owner appends.
    package var input: [UInt8] = []
    /// What must be sent, from ``outputStart``.
    package private(set) var output: [UInt8] = []
    package private(set) var outputStart = 0
    private var start = 0

    package init() {}

    /// One that is under way.
    package init(input: [UInt8], output: [UInt8]) {
        self.input = input
        self.output = output
    }

    /// What was received and is no whole frame yet.
    package var unread: [UInt8] { Array(input[start...]) }
    /// What must still be sent.
    package var unsent: [UInt8] { Array(output[outputStart...]) }

    /// The next frame; nil when more bytes are needed.
    ///
    /// Throws where the peer speaks another language.
    package mutating func next() throws(WireError) -> Frame? {
        guard let header = try PeerHeader.parse(input, at: start) else {
            dropConsumed()
            return nil
        }
        let payload = start + PeerHeader.length
        guard input.count - payload >= header.payloadLength else {
            dropConsumed()
            return nil
        }
        start = payload + header.payloadLength
        return Frame(header: header, payload: payload..<start)
    }

    /// Bytes that wait to be sent.
    package var queuedBytes: Int { output.count - outputStart }

    package mutating func append(_ header: PeerHeader, _ payload: [UInt8]) {
        header.write(to: &output)
        output.append(contentsOf: payload)
    }

    /// Appends a whole frame, head and payload.
    package mutating func append(_ frame: [UInt8]) { output.append(contentsOf: frame) }

    /// Appends a frame whose payload came in elsewhere.
    package mutating func append(_ header: PeerHeader, copying payload: Range<Int>, of input: [UInt8]) {
        header.write(to: &output)
        output.append(copying: input.span.extracting(payload))
    }

    /// So many bytes were sent.
    package mutating func didSend(_ count: Int) {
        outputStart += count
        if outputStart == output.count {
            output.removeAll(keepingCapacity: output.capacity <= 262_144)
            outputStart = 0
        } else if outputStart > 1_048_576 {
            output.removeFirst(outputStart)
            outputStart = 0
        }
    }

    private mutating func dropConsumed() {
        guard start > 0 else { return }
        if start == input.count {
            input.removeAll(keepingCapacity: input.capacity <= 262_144)
        } else {
            input.removeFirst(start)
        }
        start = 0
    }
}

extension [UInt8] {
    /// Appends a span's bytes in one copy.
    package mutating func append(copying bytes: Span<UInt8>) {
        unsafe bytes.withUnsafeBufferPointer { unsafe self.append(contentsOf: $0) }
    }
}
