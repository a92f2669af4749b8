// SPDX-License-Identifier: Apache-2.0

package import MartletCore
internal import Synchronization

/// Who a connection is, as its slot remembers it.
package struct ArenaIdentity: Equatable, Sendable {
    package var connection: String
    /// The tokens by which its session can be resumed; nil: it is no session.
    package var session: SessionTokens?
    package var bearer: Bearer
    /// Every room that the connection has joined itself.
    package var rooms: [Room]

    package init(connection: String, session: SessionTokens? = nil, bearer: Bearer, rooms: [Room] = []) {
        self.connection = connection
        self.session = session
        self.bearer = bearer
        self.rooms = rooms
    }

    fileprivate var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 384)
        writer.put(connection)
        writer.put(session)
        writer.put(bearer)
        writer.put(UInt32(rooms.count))
        for room in rooms { writer.put(room) }
        return writer.bytes
    }

    /// Reads an identity; the version before knew no sessions (`isPrevious`).
    fileprivate init(_ bytes: [UInt8], isPrevious: Bool) throws(WireError) {
        var reader = ByteReader(bytes)
        connection = try reader.text(limit: 256)
        session = isPrevious ? nil : try reader.sessionTokens()
        bearer = try reader.bearer()
        var rooms: [Room] = []
        for _ in 0..<(try reader.count(ofAtLeast: 5)) { rooms.append(try reader.room()) }
        self.rooms = rooms
        try reader.finish()
    }
}

extension Arena {
    /// The most bytes that an identity may have.
    private static let largestIdentity = 131_072

    /// Writes a slot's identity, in place of an older one; returns false when there is no memory.
    ///
    /// The slot's cookie, generation and `connectedAt` must be set before.
    package func setIdentity(_ identity: ArenaIdentity, of slot: ArenaSlot) -> Bool {
        replaceIdentity(of: slot, by: identity.bytes)
    }

    /// Puts an identity in force by one store: its length and checksum lie before it in its chunk.
    private func replaceIdentity(of slot: ArenaSlot, by bytes: [UInt8]) -> Bool {
        guard bytes.count <= Self.largestIdentity, let chunk = allocate(8 + bytes.count) else { return false }
        let target = unsafe self.bytes(of: chunk, count: 8 + bytes.count)
        unsafe target.storeBytes(of: UInt32(bytes.count), as: UInt32.self)
        unsafe target.storeBytes(of: Self.checksum(slot, bytes), toByteOffset: 4, as: UInt32.self)
        unsafe UnsafeMutableRawBufferPointer(rebasing: target[8...]).copyBytes(from: bytes)
        atomicMemoryFence(ordering: .releasing)
        let old = slot.identity
        slot.identity = chunk
        if old != 0 { free(old) }
        return true
    }

    /// Returns how many bytes a slot's identity has.
    package func identityByteCount(of slot: ArenaSlot) -> Int {
        (try? recordLength(slot.identity, slot: 0)).map(Int.init) ?? 0
    }

    /// Reads who holds a slot of our arena, without the rooms, which may need many more bytes.
    package func bearer(of slot: ArenaSlot) throws(WireError) -> Bearer {
        var reader = ByteReader(ownIdentity(of: slot))
        _ = try reader.text(limit: 256)
        _ = try reader.sessionTokens()
        return try reader.bearer()
    }

    /// Returns the id of the connection that has a slot of our arena; empty if it has none.
    package func connectionID(of slot: ArenaSlot) -> String {
        let count = identityByteCount(of: slot)
        guard count >= 4 else { return "" }
        let record = unsafe bytes(of: slot.identity, count: 8 + count)
        // It is the first text of the identity.
        let length = min(Int(unsafe record.loadUnaligned(fromByteOffset: 8, as: UInt32.self)), count - 4)
        return unsafe String(decoding: UnsafeRawBufferPointer(rebasing: record[12..<12 + length]), as: UTF8.self)
    }

    /// Adds a room to a slot's identity; false when there is no memory.
    ///
    /// The existing bytes are copied as they are: however many rooms a connection is in, one more costs one copy.
    package func addRoom(_ room: Room, to slot: ArenaSlot) -> Bool {
        var bytes = ownIdentity(of: slot)
        guard let (place, count) = try? rooms(in: bytes) else { return false }
        var writer = ByteWriter()
        writer.put(room)
        bytes += writer.bytes
        Self.store(count + 1, &bytes, at: place)
        return replaceIdentity(of: slot, by: bytes)
    }

    /// Removes a room from a slot's identity, if it is there; false when there is no memory.
    package func removeRoom(_ room: Room, from slot: ArenaSlot) -> Bool {
        var bytes = ownIdentity(of: slot)
        guard let (place, count) = try? rooms(in: bytes) else { return false }
        var writer = ByteWriter()
        writer.put(room)
        var reader = ByteReader(bytes, in: place + 4..<bytes.count)
        for _ in 0..<count {
            let start = reader.position
            guard (try? reader.skipRoom()) != nil else { return false }
            guard bytes[start..<reader.position].elementsEqual(writer.bytes) else { continue }
            bytes.removeSubrange(start..<reader.position)
            Self.store(count - 1, &bytes, at: place)
            return replaceIdentity(of: slot, by: bytes)
        }
        return true
    }

    private func ownIdentity(of slot: ArenaSlot) -> [UInt8] {
        let count = identityByteCount(of: slot)
        // This is our own memory, but a previous worker may still have it mapped.
        guard count > 0 else { return [] }
        return unsafe Array(bytes(of: slot.identity, count: 8 + count)[8...])
    }

    /// Finds where the number of rooms lies, and what it is.
    private func rooms(in identity: [UInt8]) throws(WireError) -> (place: Int, count: UInt32) {
        var reader = ByteReader(identity)
        _ = try reader.text(limit: 256)
        _ = try reader.sessionTokens()
        _ = try reader.bearer()
        return (reader.position, try reader.integer())
    }

    private static func store(_ number: UInt32, _ bytes: inout [UInt8], at place: Int) {
        for index in 0..<4 { bytes[place + index] = UInt8(truncatingIfNeeded: number >> UInt32(8 * index)) }
    }

    /// Reads a slot's identity, trusting nothing in it.
    package func identity(ofSlot index: Int) throws(ArenaError) -> ArenaIdentity {
        try identity(of: slot(index), index)
    }

    /// Reads the identity of a slot that may be a copy (``ArenaImport``), trusting nothing in it.
    func identity(of slot: ArenaSlot, _ index: Int) throws(ArenaError) -> ArenaIdentity {
        let chunk = slot.identity
        let count = Int(try recordLength(chunk, slot: index))
        let all = unsafe Array(self.bytes(of: chunk, count: 8 + count))
        let bytes = Array(all[8...])
        let expected = all[4..<8].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard Self.checksum(slot, bytes) == expected,
            let identity = try? ArenaIdentity(bytes, isPrevious: layout.isPrevious)
        else { throw .damagedSlot(index) }
        return identity
    }

    /// Reads the length of the record in a chunk, and checks that the record lies within the arena.
    func recordLength(_ chunk: UInt32, slot index: Int) throws(ArenaError) -> UInt32 {
        guard chunk > 0, isInside(chunk, count: 8) else { throw .damagedSlot(index) }
        let count = unsafe bytes(of: chunk, count: 8).load(as: UInt32.self)
        guard count <= Self.largestIdentity, isInside(chunk, count: 8 + Int(count)) else { throw .damagedSlot(index) }
        return count
    }

    /// Returns true if a piece that begins at this chunk lies within the arena.
    func isInside(_ chunk: UInt32, count: Int) -> Bool {
        place(of: chunk) + count <= layout.pageCount * ArenaLayout.pageSize
    }

    private static func checksum(_ slot: ArenaSlot, _ identity: [UInt8]) -> UInt32 {
        var writer = ByteWriter(capacity: 32)
        writer.put(slot.generation)
        writer.put(slot.cookie)
        writer.put(slot.connectedAt)
        return Checksum.crc32(identity, startingWith: Checksum.crc32(writer.bytes))
    }
}
