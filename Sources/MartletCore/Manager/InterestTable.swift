// SPDX-License-Identifier: Apache-2.0

/// Which shards have members of which rooms: the switchboard sends to no others.
package struct InterestTable: Sendable {
    /// The shards that have members of a room, one bit for each.
    private var shards: [Room: UInt128] = [:]
    private var counts: [Int] = Array(repeating: 0, count: Room.Kind.allCases.count + 1)

    package init() {}

    package func count(of kind: Room.Kind) -> Int { counts[Int(kind.rawValue)] }

    /// Notes that a shard got its first member of a room, or lost its last.
    package mutating func note(_ change: RoomChange, shard: Int) {
        let bit: UInt128 = 1 << UInt128(shard)
        let before = shards[change.room] ?? 0
        set(change.room, before, change.isOccupied ? before | bit : before & ~bit)
    }

    /// Returns the shards that have members of a room, in order.
    package func shards(of room: Room) -> [Int] {
        guard let bits = shards[room] else { return [] }
        return (0..<ShardMap.largestShardCount).filter { bits & 1 << UInt128($0) != 0 }
    }

    /// Forgets a shard that is gone, with all its members.
    package mutating func forget(shard: Int) {
        let bit: UInt128 = 1 << UInt128(shard)
        for (room, bits) in shards where bits & bit != 0 { set(room, bits, bits & ~bit) }
    }

    /// Every room and its shards, one bit for each.
    package var rooms: [Room: UInt128] { shards }

    /// Notes the shards of a room, and replaces what was known before.
    package mutating func note(_ room: Room, shards bits: UInt128) { set(room, shards[room] ?? 0, bits) }

    private mutating func set(_ room: Room, _ before: UInt128, _ after: UInt128) {
        if before == 0, after != 0 { counts[Int(room.kind.rawValue)] += 1 }
        if before != 0, after == 0 { counts[Int(room.kind.rawValue)] -= 1 }
        shards[room] = after == 0 ? nil : after
    }
}
