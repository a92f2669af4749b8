// SPDX-License-Identifier: Apache-2.0

/// The address that a frame comes from or goes to.
package enum PeerAddress {
    /// The supervisor itself.
    package static let supervisor: UInt16 = 0xFFFE
    /// Every shard: the switchboard sends the frame on to each of them.
    package static let everyShard: UInt16 = 0xFFFF
    /// The shards where a room has members: the switchboard knows which.
    package static let room: UInt16 = 0xFFFD
}

/// The fixed head of a frame between supervisor and worker, which is all that the switchboard reads of most frames.
///
/// It has 24 bytes, little-endian: magic, version, kind, zero, source (2), destination (2), correlation (8), map
/// generation (4), payload length (4).
package struct PeerHeader: Equatable, Sendable {
    package static let length = 24
    /// The largest payload: a message of the largest size with its address, or the users of a large shard.
    package static let largestPayload = 67_108_864
    private static let magic: UInt8 = 0x4D
    private static let version: UInt8 = 1

    package var kind: PeerKind
    package var source: UInt16
    package var destination: UInt16
    /// The number that the requester gave a command, and that its reply repeats.
    ///
    /// ``PeerKind/rooms``, ``PeerKind/allRooms`` and ``PeerKind/roomsNoted`` use it as described there; elsewhere it is
    /// 0.
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

    /// Appends the head to `bytes`; the payload follows it.
    package func write(to bytes: inout [UInt8]) {
        bytes.append(contentsOf: [Self.magic, Self.version, kind.rawValue, 0])
        put(source, 2, &bytes)
        put(destination, 2, &bytes)
        put(correlation, 8, &bytes)
        put(mapGeneration, 4, &bytes)
        put(UInt32(payloadLength), 4, &bytes)
    }

    /// Reads the head at `offset`; nil if it is not complete yet.
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
