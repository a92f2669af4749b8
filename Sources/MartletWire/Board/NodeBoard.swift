// SPDX-License-Identifier: Apache-2.0

package import MartletCore
internal import Synchronization

/// A few numbers that all processes of the node share, for limits that apply to the node rather than to each shard.
///
/// The supervisor makes the memory, and every worker maps it. Every count has a row for each shard, which only that
/// shard's worker may write; the total is the sum of the rows. So nothing is lost or counted twice when a worker dies:
/// the supervisor clears its row. A worker that an attacker controls can write anything anywhere here. Therefore a
/// reader limits each number to what is possible, computes without traps, and knows the size of the board from
/// elsewhere. Such a worker can still cause all clients to be refused, by what it counts.
@safe
package struct NodeBoard {
    /// Where the numbers lie.
    private enum Offset {
        static let magic = 0
        static let shards = 8
        static let places = 12
        static let handshakes = 64
        static let rows = 4096
    }

    private static let magic: UInt64 = 0x4452_414F_4254_4D31  // "1MTBOARD" as it lies in memory
    /// The distance between rows, which is large enough that workers do not slow each other down.
    private static let rowSize = 128

    private let base: UnsafeMutableRawPointer
    let shards: Int
    let places: Int

    /// Returns how many bytes a board needs; it has places for addresses only if these are counted.
    package static func byteCount(shards: Int, places: Int) -> Int {
        Offset.rows + shards * rowSize + places * 8 + shards * places * 4
    }

    /// Returns how many places so many connections need: a power of two, or 0 if addresses are not counted.
    package static func places(connections: Int, perAddress: Int) -> Int {
        guard perAddress > 0 else { return 0 }
        var places = 1024
        while places < connections * 2 { places *= 2 }
        return places
    }

    /// Lays out memory that is all zero.
    @unsafe
    package init(formatting memory: UnsafeMutableRawBufferPointer, shards: Int, places: Int) throws(ArenaError) {
        guard let base = memory.baseAddress, memory.count >= Self.byteCount(shards: shards, places: places) else {
            throw .wrongSize
        }
        unsafe base.storeBytes(of: UInt32(shards), toByteOffset: Offset.shards, as: UInt32.self)
        unsafe base.storeBytes(of: UInt32(places), toByteOffset: Offset.places, as: UInt32.self)
        unsafe base.storeBytes(of: Self.magic, toByteOffset: Offset.magic, as: UInt64.self)
        unsafe self.base = base
        self.shards = shards
        self.places = places
    }

    /// Uses a board that the supervisor has laid out for so many shards.
    ///
    /// The number of places follows from the board's size, which nobody can change.
    @unsafe
    package init(_ memory: UnsafeMutableRawBufferPointer, shards: Int) throws(ArenaError) {
        guard let base = memory.baseAddress, (1...ShardMap.largestShardCount).contains(shards) else { throw .wrongSize }
        let places = (memory.count - Self.byteCount(shards: shards, places: 0)) / (8 + 4 * shards)
        guard places == 0 || (places > 0 && places & (places - 1) == 0),
            memory.count == Self.byteCount(shards: shards, places: places)
        else { throw .wrongSize }
        unsafe self.base = base
        self.shards = shards
        self.places = places
    }

    // MARK: Connections

    /// Counts one more connection of a shard, unless the node is full.
    ///
    /// There are never more than `limit`. If two connections compete for the last place at the same moment, both may be
    /// refused.
    package func openConnection(shard: Int, limit: Int) -> Bool {
        _ = unsafe row(shard).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        guard connections > limit else { return true }
        _ = unsafe row(shard).pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        return false
    }

    package func closeConnection(shard: Int) {
        _ = unsafe row(shard).pointee.wrappingSubtract(1, ordering: .relaxed)
    }

    /// How many connections the whole node has.
    package var connections: Int {
        (0..<shards).reduce(0) { sum, shard in
            sum + Self.credible(Int64(bitPattern: unsafe row(shard).pointee.load(ordering: .sequentiallyConsistent)))
        }
    }

    /// Limits a count to what is possible: a worker has no more connections than an arena has slots.
    static func credible(_ count: Int64) -> Int { Int(min(max(count, 0), Int64(ArenaLayout.mostSlots))) }

    /// Clears the counts of a shard whose worker has died, and its connections with it.
    package func clear(shard: Int) {
        unsafe row(shard).pointee.store(0, ordering: .relaxed)
        for place in 0..<places {
            let count = unsafe count(shard, place)
            if unsafe count.pointee.load(ordering: .relaxed) != 0 {
                unsafe count.pointee.store(0, ordering: .relaxed)
            }
        }
    }

    /// Replaces the counts of a shard's previous worker with those of the worker that takes over.
    package func restore(shard: Int, connections: Int, places kept: [Int: Int]) {
        unsafe row(shard).pointee.store(UInt64(connections), ordering: .sequentiallyConsistent)
        for place in 0..<places {
            let count = unsafe count(shard, place)
            let wanted = Int32(clamping: kept[place] ?? 0)
            if unsafe count.pointee.load(ordering: .relaxed) != wanted {
                unsafe count.pointee.store(wanted, ordering: .sequentiallyConsistent)
            }
        }
    }

    // MARK: Handshakes

    /// Counts one more handshake, unless it exceeds the rate of the whole node.
    package func admitHandshake(_ limit: RateLimit, now: UInt64) -> Bool {
        let state = unsafe atomic64(Offset.handshakes)
        var seen = unsafe state.pointee.load(ordering: .relaxed)
        while let next = limit.admitting(shared: seen, now: now) {
            let (exchanged, original) = unsafe state.pointee.compareExchange(
                expected: seen,
                desired: next,
                ordering: .relaxed
            )
            if exchanged { return true }
            seen = original
        }
        return false
    }

    // MARK: Memory

    private func atomic64(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    private func row(_ shard: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        precondition(shard >= 0 && shard < shards, "a shard that the board has no row for")
        return unsafe atomic64(Offset.rows + shard * Self.rowSize)
    }

    /// Returns the word that says which address owns a place (``AddressWord``).
    func word(_ place: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        unsafe atomic64(Offset.rows + shards * Self.rowSize + place * 8)
    }

    func count(_ shard: Int, _ place: Int) -> UnsafeMutablePointer<Atomic<Int32>> {
        let start = Offset.rows + shards * Self.rowSize + places * 8
        return unsafe (base + start + (shard * places + place) * 4).assumingMemoryBound(to: Atomic<Int32>.self)
    }
}
