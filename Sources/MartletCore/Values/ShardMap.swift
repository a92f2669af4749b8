// SPDX-License-Identifier: Apache-2.0

/// Which shard owns which user.
///
/// A user id hashes to one of 1,024 slots, and the map gives each slot to a shard. The hash is CRC-32 (IEEE 802.3, as
/// in zlib) of the id's UTF-8 bytes, modulo 1,024, so that another program can compute it:
/// `zlib.crc32(user.encode()) % 1024`. Neighbouring slots go to different shards, because ids that count upwards differ in
/// the low bits of that hash most evenly.
package struct ShardMap: Equatable, Sendable {
    /// The number of slots that users hash to; it must not change, because other programs compute slots too.
    package static let userSlotCount = 1024
    /// The most shards one node may have.
    package static let largestShardCount = 128

    /// The number of the map, which grows with each change; a message says which generation it was routed with.
    package let generation: UInt32
    /// The owner of each slot.
    package let owners: [UInt16]
    package let shardCount: Int

    /// Makes a map that deals the slots out to the shards, one after the other.
    package init(shardCount: Int, generation: UInt32 = 1) {
        precondition((1...Self.largestShardCount).contains(shardCount), "a node has 1 to 128 shards")
        self.generation = generation
        self.shardCount = shardCount
        owners = (0..<Self.userSlotCount).map { UInt16($0 % shardCount) }
    }

    package func shard(ofUserSlot slot: Int) -> Int { Int(owners[slot & (Self.userSlotCount - 1)]) }

    package func shard(ofUser user: String) -> Int { shard(ofUserSlot: Self.userSlot(of: user)) }

    /// Returns the shard that owns a connection, whose id carries its user's slot.
    ///
    /// Nil for text that is not an id of ours.
    package func shard(of connection: ConnectionID) -> Int? { connection.userSlot.map(shard(ofUserSlot:)) }

    package static func userSlot(of user: String) -> Int {
        var crc = UInt32.max
        let (bytes, table) = (user.utf8.span, crcTable)
        for index in bytes.indices { crc = (crc >> 8) ^ table[Int((crc ^ UInt32(bytes[index])) & 0xFF)] }
        return Int(~crc & UInt32(userSlotCount - 1))
    }

    private static let crcTable: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? (value >> 1) ^ 0xEDB8_8320 : value >> 1 }
    }
}
