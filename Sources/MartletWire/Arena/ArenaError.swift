// SPDX-License-Identifier: Apache-2.0

/// Why shared memory is not an arena, or not one that this version can read.
package enum ArenaError: Error, Equatable, Sendable {
    case wrongMagic
    case wrongVersion(UInt32)
    /// The header's sizes do not fit the memory.
    case wrongSize
    case damagedHeader
    /// A slot does not match its checksum, or points outside of the arena.
    case damagedSlot(Int)
}
