/// Shared memory that is no arena of ours, or not one that this version can read.
package enum ArenaError: Error, Equatable, Sendable {
    case wrongMagic
    case wrongVersion(UInt32)
    /// The header's sizes do not fit the memory.
    case wrongSize
    case damagedHeader
    /// A slot's fixed part does not match its checksum, or points outside.
    case damagedSlot(Int)
}
