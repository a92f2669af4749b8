// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// Where things lie in a shard's shared memory.
///
/// From the front: one page with the header and the journal, the landing (where bytes are received), the ring of
/// answered requests, the table of slots, and the chunks. A worker writes and its successor reads. Both must agree, so
/// the layout has a version, and the header contains all sizes.
package struct ArenaLayout: Equatable, Sendable {
    package static let magic: UInt64 = 0x4152_5454_454C_4D31  // "1MLETTRA" as it lies in memory
    package static let version: UInt32 = 7
    /// The version before, which can be read by an heir that copies from it, and by nobody else.
    package static let previousVersion: UInt32 = 6
    package static let headerSize = 4096
    /// The most slots that an arena may have.
    package static let mostSlots = 4_000_000
    /// How many bytes one receive may take.
    package static let landingSize = 65536
    package static let slotSize = 256
    /// How many answered requests are remembered, so that a repeated one is not carried out again.
    package static let ringCapacity = 8192
    package static let ringEntrySize = 64
    package static let ringSize = ringCapacity * ringEntrySize
    /// The unit of chunks: it divides their sizes, and their names are distances from the first one in this unit.
    package static let chunkUnit = 16
    /// The size of the allocator's pages: a page holds chunks of one size, and is given back to the system as a whole.
    package static let pageSize = 262_144

    /// How many connections fit.
    package let slotCount: Int
    /// The number of pages for chunks.
    package let pageCount: Int
    /// The version of whoever laid this out.
    package let version: UInt32

    package init(slotCount: Int, pageCount: Int, version: UInt32 = Self.version) {
        precondition((1...Self.mostSlots).contains(slotCount) && (1...65536).contains(pageCount), "sizes of an arena")
        self.slotCount = slotCount
        self.pageCount = pageCount
        self.version = version
    }

    /// Makes the layout for a shard: a slot for every connection of the node, and for each session that waits in the
    /// shard, and address space for chunks.
    ///
    /// Any shard may come to own all connections. Neither slots nor chunks cost memory before they are touched.
    package init(connections: Int, waiting: Int) {
        // 64 KiB for each connection on average; at least 1 GiB, at most 8 GiB.
        let chunkBytes = min(max(connections * 65536, 1 << 30), 8 << 30)
        self.init(slotCount: connections + waiting, pageCount: chunkBytes / Self.pageSize)
    }

    /// Makes the layout for a shard of a node with these limits.
    package init(_ limits: Configuration.Limits) {
        self.init(connections: limits.connections, waiting: limits.waitingSessions)
    }

    /// True if an older version laid this out.
    package var isPrevious: Bool { version == Self.previousVersion }

    /// The unit of chunks of this layout's version.
    var chunkUnit: Int { isPrevious ? 128 : Self.chunkUnit }

    package var landingOffset: Int { Self.headerSize }
    package var ringOffset: Int { landingOffset + Self.landingSize }
    package var slotsOffset: Int { ringOffset + Self.ringSize }
    package var chunksOffset: Int { Self.roundedUp(slotsOffset + slotCount * Self.slotSize, to: Self.pageSize) }
    package var byteCount: Int { chunksOffset + pageCount * Self.pageSize }

    private static func roundedUp(_ value: Int, to unit: Int) -> Int { (value + unit - 1) / unit * unit }
}
