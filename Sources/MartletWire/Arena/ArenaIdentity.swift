/// Who a connection is, as its slot remembers it.
package struct ArenaIdentity: Equatable, Sendable {
    package var connection: String
    package var bearer: Bearer

    package init(connection: String, bearer: Bearer) {
        self.connection = connection
        self.bearer = bearer
    }

    fileprivate var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(connection)
        writer.put(bearer)
        return writer.bytes
    }

    fileprivate init(_ bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        connection = try reader.text(limit: 256)
        bearer = try reader.bearer()
        try reader.finish()
    }
}

extension Arena {
    /// An identity's bytes are never more.
    private static let largestIdentity = 32768

    /// Writes a slot's identity, in place of an older one, and its checksum; cookie, generation and connected-at must be set before.
    ///
    /// False when there is no memory.
    package func setIdentity(_ identity: ArenaIdentity, of slot: ArenaSlot) -> Bool {
        let bytes = identity.bytes
        guard bytes.count <= Self.largestIdentity, let chunk = allocate(bytes.count) else { return false }
        unsafe self.bytes(of: chunk, count: bytes.count).copyBytes(from: bytes)
        let old = slot.identity
        slot.identityLength = UInt32(bytes.count)
        slot.identityChecksum = Self.checksum(slot, bytes)
        slot.identity = chunk
        if old != 0 { free(old) }
        return true
    }

    /// Reads a slot's identity, trusting nothing in it.
    package func identity(ofSlot index: Int) throws(ArenaError) -> ArenaIdentity {
        let slot = slot(index)
        let (chunk, count) = (Int(slot.identity), Int(slot.identityLength))
        let regionSize = layout.pageCount * ArenaLayout.pageSize
        guard chunk > 0, count <= Self.largestIdentity, chunk * ArenaLayout.chunkUnit + count <= regionSize else {
            throw .damagedSlot(index)
        }
        let bytes = unsafe Array(self.bytes(of: slot.identity, count: count))
        guard Self.checksum(slot, bytes) == slot.identityChecksum, let identity = try? ArenaIdentity(bytes) else {
            throw .damagedSlot(index)
        }
        return identity
    }

    private static func checksum(_ slot: ArenaSlot, _ identity: [UInt8]) -> UInt32 {
        var writer = ByteWriter()
        writer.put(slot.generation)
        writer.put(slot.cookie)
        writer.put(slot.connectedAt)
        return Checksum.crc32(identity, startingWith: Checksum.crc32(writer.bytes))
    }
}
