package import MartletCore
internal import Synchronization

/// A few numbers that all processes of the node share, in memory that the supervisor makes and every worker maps: limits
/// that hold for the node and not for each shard.
///
/// Every count has a row for each shard, which that shard's worker alone has to write, and the sum of the rows is what
/// counts. So nothing is lost or counted twice when a worker dies: the supervisor clears its row. A worker that strangers have
/// taken over can write anything anywhere here: whoever reads believes no number that cannot honestly be, computes without
/// traps, and knows the board's measures from elsewhere. Such a worker can still refuse clients to all, by what it counts.
@safe
package struct NodeBoard {
    /// Where the supervisor's clock and everybody's numbers lie.
    private enum Offset {
        static let magic = 0
        static let shards = 8
        static let places = 12
        static let handshakes = 64
        static let rows = 4096
    }

    private static let magic: UInt64 = 0x4452_414F_4254_4D31  // "1MTBOARD" as it lies in memory
    /// Rows are apart, so that workers do not slow each other down.
    private static let rowSize = 128

    private let base: UnsafeMutableRawPointer
    let shards: Int
    let places: Int

    /// The bytes that a board needs; places for addresses only where they are counted.
    package static func byteCount(shards: Int, places: Int) -> Int {
        Offset.rows + shards * rowSize + places * 8 + shards * places * 4
    }

    /// Places for so many connections, a power of two; 0 where addresses are not counted.
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
    /// How many places it has follows from its size, which nobody can change.
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
    /// Never more than `limit` in all; two that come at the very same time for the last place may both be refused.
    package func openConnection(shard: Int, limit: Int) -> Bool {
        _ = unsafe row(shard).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        guard connections > limit else { return true }
        _ = unsafe row(shard).pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        return false
    }

    package func closeConnection(shard: Int) {
        _ = unsafe row(shard).pointee.wrappingSubtract(1, ordering: .relaxed)
    }

    /// Connections of the whole node.
    package var connections: Int {
        (0..<shards).reduce(0) { sum, shard in
            sum + Self.credible(Int64(bitPattern: unsafe row(shard).pointee.load(ordering: .sequentiallyConsistent)))
        }
    }

    /// A count as far as it can be one: a worker has no more connections than an arena has slots.
    static func credible(_ count: Int64) -> Int { Int(min(max(count, 0), Int64(ArenaLayout.mostSlots))) }

    /// A worker has died, and its connections with it.
    package func clear(shard: Int) {
        unsafe row(shard).pointee.store(0, ordering: .relaxed)
        for place in 0..<places {
            let count = unsafe count(shard, place)
            if unsafe count.pointee.load(ordering: .relaxed) != 0 {
                unsafe count.pointee.store(0, ordering: .relaxed)
            }
        }
    }

    /// What a worker that takes over a shard counts, in place of what the one before it had counted.
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

    /// One more handshake, at the rate of the whole node.
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

    /// Whose a place is (``AddressWord``).
    func word(_ place: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        unsafe atomic64(Offset.rows + shards * Self.rowSize + place * 8)
    }

    func count(_ shard: Int, _ place: Int) -> UnsafeMutablePointer<Atomic<Int32>> {
        let start = Offset.rows + shards * Self.rowSize + places * 8
        return unsafe (base + start + (shard * places + place) * 4).assumingMemoryBound(to: Atomic<Int32>.self)
    }
}
