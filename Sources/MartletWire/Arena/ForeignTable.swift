// SPDX-License-Identifier: Apache-2.0

/// The records of another worker's table, which may still change, so that each is read once and checked.
package struct ForeignTable {
    private let arena: Arena
    private let references: [UInt32]

    /// Finds the records of a table; there are none if the table is inconsistent.
    package init(_ kind: ArenaTable.Kind, in arena: Arena) {
        self.arena = arena
        let word = arena.journal[kind]
        let (chunk, capacity) = (UInt32(truncatingIfNeeded: word), Int(word >> 32))
        guard chunk != 0, capacity <= ArenaTable.largestCapacity, arena.isInside(chunk, count: capacity * 4) else {
            references = []
            return
        }
        let bytes = unsafe arena.bytes(of: chunk, count: capacity * 4)
        references = (0..<capacity).map { unsafe bytes.load(fromByteOffset: $0 * 4, as: UInt32.self) }
    }

    /// Passes every undamaged record to `body`, with its bytes as they were when they were checked.
    ///
    /// `wants` decides by the first bytes, which are not checked yet, whether a record is worth reading.
    package func forEach(
        prefix count: Int = 0,
        where wants: (UnsafeRawBufferPointer) -> Bool = { _ in true },
        _ body: ([UInt8]) -> Void
    ) {
        for chunk in references where chunk != 0 && arena.isInside(chunk, count: 8 + count) {
            let first = unsafe arena.bytes(of: chunk, count: 8 + count)
            guard unsafe wants(UnsafeRawBufferPointer(rebasing: first[8...])), let bytes = arena.record(chunk) else {
                continue
            }
            body(bytes)
        }
    }
}
