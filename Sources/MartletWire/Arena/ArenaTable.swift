// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Records of a shard that belong to no connection (bindings, remembered answers), in chunks that a successor finds.
///
/// The table is a chunk of references, one for each record; one store adds or removes a record. To grow, the table
/// copies the references, and one store puts the copy in force. A table lives on the arena's thread.
package final class ArenaTable {
    package enum Kind: Sendable {
        case bindings
        case answers
        /// One of six for later versions with this layout, whose records are kept, though nothing here knows them.
        case further(Int)

        static let all: [Kind] = [.bindings, .answers] + (0..<6).map(Kind.further)
    }

    /// The place of a record.
    package typealias Place = Int

    /// The most records that a table may have.
    static let largestCapacity = 1 << 24

    private let arena: Arena
    private let kind: Kind
    private var vacant: [Int] = []

    /// Makes an empty table, or continues what a recovery has left of an old one.
    package init(_ kind: Kind, in arena: Arena) {
        self.arena = arena
        self.kind = kind
        vacant = (0..<capacity).reversed().filter { reference($0) == 0 }
    }

    private var chunk: UInt32 { UInt32(truncatingIfNeeded: arena.journal[kind]) }
    private var capacity: Int { Int(arena.journal[kind] >> 32) }

    /// Adds a record, and returns its place; nil when there is no memory.
    package func insert(_ record: [UInt8]) -> Place? {
        if vacant.isEmpty, !grow() { return nil }
        guard let new = arena.makeRecord(record) else { return nil }
        guard let place = vacant.popLast() else { return nil }
        atomicMemoryFence(ordering: .releasing)
        set(place, new)
        return place
    }

    package func remove(_ place: Place) {
        let old = reference(place)
        guard old != 0 else { return }
        set(place, 0)
        arena.free(old)
        vacant.append(place)
    }

    /// Returns the bytes of the record at a place; nil if it is damaged, or there is none.
    package func record(at place: Place) -> [UInt8]? {
        (0..<capacity).contains(place) && reference(place) != 0 ? arena.record(reference(place)) : nil
    }

    /// Passes the first bytes of each record to `body`; they are not checked, as they are by ``record(at:)``.
    package func forEachPrefix(of count: Int, _ body: (Place, UnsafeRawBufferPointer) -> Void) {
        for place in 0..<capacity {
            let chunk = reference(place)
            guard chunk != 0, arena.isInside(chunk, count: 8 + count) else { continue }
            let bytes = unsafe arena.bytes(of: chunk, count: 8 + count)
            unsafe body(place, UnsafeRawBufferPointer(rebasing: bytes[8...]))
        }
    }

    /// Every record, with its place.
    package var records: [(place: Place, bytes: [UInt8])] {
        (0..<capacity).compactMap { place in
            guard reference(place) != 0, let bytes = arena.record(reference(place)) else { return nil }
            return (place, bytes)
        }
    }

    private func grow() -> Bool {
        let (old, oldCapacity) = (chunk, capacity)
        let newCapacity = max(16, oldCapacity * 2)
        guard newCapacity <= Self.largestCapacity, let new = arena.allocate(newCapacity * 4) else { return false }
        let target = unsafe arena.bytes(of: new, count: newCapacity * 4)
        for place in 0..<newCapacity {
            let value = place < oldCapacity ? reference(place) : 0
            unsafe target.storeBytes(of: value, toByteOffset: place * 4, as: UInt32.self)
        }
        arena.journal[kind] = UInt64(newCapacity) << 32 | UInt64(new)
        if old != 0 { arena.free(old) }
        vacant += (oldCapacity..<newCapacity).reversed()
        return true
    }

    private func reference(_ place: Int) -> UInt32 {
        unsafe arena.bytes(of: chunk, count: capacity * 4).load(fromByteOffset: place * 4, as: UInt32.self)
    }

    private func set(_ place: Int, _ reference: UInt32) {
        unsafe arena.bytes(of: chunk, count: capacity * 4)
            .storeBytes(of: reference, toByteOffset: place * 4, as: UInt32.self)
    }
}

extension Arena {
    static let largestRecord = 1 << 24

    /// Makes a chunk that holds a length, a checksum and the bytes; nil when there is no memory.
    package func makeRecord(_ bytes: [UInt8]) -> UInt32? {
        guard bytes.count <= Self.largestRecord, let chunk = allocate(8 + bytes.count) else { return nil }
        let target = unsafe self.bytes(of: chunk, count: 8 + bytes.count)
        unsafe target.storeBytes(of: UInt32(bytes.count), as: UInt32.self)
        unsafe target.storeBytes(of: Checksum.crc32(bytes), toByteOffset: 4, as: UInt32.self)
        unsafe UnsafeMutableRawBufferPointer(rebasing: target[8...]).copyBytes(from: bytes)
        return chunk
    }

    /// Returns the bytes of the record in a chunk; nil if it is damaged.
    package func record(_ chunk: UInt32) -> [UInt8]? {
        guard chunk > 0, isInside(chunk, count: 8) else { return nil }
        let count = Int(unsafe bytes(of: chunk, count: 8).load(as: UInt32.self))
        guard count <= Self.largestRecord, isInside(chunk, count: 8 + count) else { return nil }
        let all = unsafe bytes(of: chunk, count: 8 + count)
        let expected = unsafe all.load(fromByteOffset: 4, as: UInt32.self)
        let found = unsafe Array(all[8...])
        return Checksum.crc32(found) == expected ? found : nil
    }
}
