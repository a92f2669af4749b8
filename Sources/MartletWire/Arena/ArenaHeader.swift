// SPDX-License-Identifier: Apache-2.0

/// The first bytes of an arena: what it is, for which shard, and how large its parts are.
package struct ArenaHeader: Equatable, Sendable {
    package let layout: ArenaLayout
    package let shard: UInt16
    /// The generation of the worker that owns the arena.
    package let generation: UInt32

    private static let length = 44

    package init(layout: ArenaLayout, shard: UInt16, generation: UInt32) {
        self.layout = layout
        self.shard = shard
        self.generation = generation
    }

    /// The header as it lies in memory, with its checksum at the end.
    package var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(ArenaLayout.magic)
        writer.put(layout.version)
        writer.put(generation)
        writer.put(UInt32(shard))
        writer.put(UInt32(ArenaLayout.slotSize))
        writer.put(UInt32(layout.slotCount))
        writer.put(UInt32(ArenaLayout.pageSize))
        writer.put(UInt32(layout.pageCount))
        writer.put(UInt32(ArenaLayout.landingSize))
        writer.put(Checksum.crc32(writer.bytes))
        return writer.bytes
    }

    /// Returns true if memory begins as an arena of the present version does; the rest is not looked at.
    package static func isCurrent(_ memory: [UInt8]) -> Bool {
        var reader = ByteReader(memory)
        guard (try? reader.integer(UInt64.self)) == ArenaLayout.magic else { return false }
        return (try? reader.integer(UInt32.self)) == ArenaLayout.version
    }

    /// Reads a header; nothing in it is trusted, so everything is checked, also against the size of the memory.
    ///
    /// With `isSource`, the layout of the version before is accepted.
    package init(_ memory: [UInt8], memorySize: Int, isSource: Bool = false) throws(ArenaError) {
        var reader = ByteReader(Array(memory.prefix(Self.length)))
        let magic: UInt64
        let version: UInt32
        var numbers: [UInt32] = []
        do throws(WireError) {
            magic = try reader.integer()
            version = try reader.integer()
            for _ in 0..<8 { numbers.append(try reader.integer()) }
        } catch {
            throw .wrongSize
        }
        guard magic == ArenaLayout.magic else { throw .wrongMagic }
        guard version == ArenaLayout.version || (isSource && version == ArenaLayout.previousVersion) else {
            throw .wrongVersion(version)
        }
        guard Checksum.crc32(Array(memory.prefix(Self.length - 4))) == numbers[7] else { throw .damagedHeader }
        guard numbers[2] == ArenaLayout.slotSize, numbers[4] == ArenaLayout.pageSize,
            numbers[6] == ArenaLayout.landingSize, (1...UInt32(ArenaLayout.mostSlots)).contains(numbers[3]),
            (1...65536).contains(numbers[5]), let shard = UInt16(exactly: numbers[1])
        else { throw .wrongSize }
        layout = ArenaLayout(slotCount: Int(numbers[3]), pageCount: Int(numbers[5]), version: version)
        guard layout.byteCount <= memorySize else { throw .wrongSize }
        generation = numbers[0]
        self.shard = shard
    }
}
