/// Where things lie in a shard's shared memory.
///
/// From the front: one page of header and journal, the landing (where bytes are received), the ring of answered requests,
/// the table of slots, and the chunks. A worker writes, its successor reads; both must agree, so the layout is versioned and
/// the header says all sizes.
package struct ArenaLayout: Equatable, Sendable {
    package static let magic: UInt64 = 0x4152_5454_454C_4D31  // "1MLETTRA" as it lies in memory
    package static let version: UInt32 = 6
    package static let headerSize = 4096
    /// No arena has more slots.
    package static let mostSlots = 4_000_000
    /// Bytes that one receive may take.
    package static let landingSize = 65536
    package static let slotSize = 256
    /// Requests whose answers are remembered, so that one which is asked again is not done again.
    package static let ringCapacity = 8192
    package static let ringEntrySize = 64
    package static let ringSize = ringCapacity * ringEntrySize
    /// Chunks are a multiple of this, and are named by their distance from the first in units of it.
    package static let chunkUnit = 128
    /// The allocator's page: the most that holds chunks of one size, and what is given back to the system at once.
    package static let pageSize = 262_144

    /// Connections that fit.
    package let slotCount: Int
    /// Pages for chunks.
    package let pageCount: Int

    package init(slotCount: Int, pageCount: Int) {
        precondition((1...Self.mostSlots).contains(slotCount) && (1...65536).contains(pageCount), "sizes of an arena")
        self.slotCount = slotCount
        self.pageCount = pageCount
    }

    /// What a shard gets: a slot for every connection of the node (any shard may come to own them all), and address space
    /// for chunks; neither costs memory before it is touched.
    package init(connections: Int) {
        // 64 KiB a connection on average, at least 1 GiB, at most 8 GiB.
        let chunkBytes = min(max(connections * 65536, 1 << 30), 8 << 30)
        self.init(slotCount: connections, pageCount: chunkBytes / Self.pageSize)
    }

    package var landingOffset: Int { Self.headerSize }
    package var ringOffset: Int { landingOffset + Self.landingSize }
    package var slotsOffset: Int { ringOffset + Self.ringSize }
    package var chunksOffset: Int { Self.roundedUp(slotsOffset + slotCount * Self.slotSize, to: Self.pageSize) }
    package var byteCount: Int { chunksOffset + pageCount * Self.pageSize }

    private static func roundedUp(_ value: Int, to unit: Int) -> Int { (value + unit - 1) / unit * unit }
}
