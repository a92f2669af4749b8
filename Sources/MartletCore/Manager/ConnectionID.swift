// SPDX-License-Identifier: Apache-2.0

/// Names one connection, for as long as any server of this node remembers it.
///
/// To users it is opaque text. The ids that we make have 15 characters (base 32 without look-alikes): 10 bits for the
/// user's hash slot, so that any worker knows which shard owns the connection, a zero bit, and 64 random bits. Fifteen
/// bytes fit into a Swift string without an allocation.
package struct ConnectionID: Hashable, Sendable, CustomStringConvertible {
    package let text: String

    package init(_ text: String) {
        self.text = text
    }

    /// Makes a new id for a connection of a user who hashes to `userSlot`.
    package init(userSlot: Int, random: UInt64) {
        var high = UInt64(userSlot & (ShardMap.userSlotCount - 1)) << 1  // the upper 11 of 75 bits
        var low = random
        text = unsafe String(unsafeUninitializedCapacity: Self.length) { characters in
            for index in stride(from: Self.length - 1, through: 0, by: -1) {
                unsafe characters.initializeElement(at: index, to: Self.alphabet[Int(low & 31)])
                low = low >> 5 | (high & 31) << 59
                high >>= 5
            }
            return Self.length
        }
    }

    /// Makes a new id for a connection of this user.
    package static func random(ofUser user: String) -> ConnectionID {
        ConnectionID(userSlot: ShardMap.userSlot(of: user), random: UInt64.random(in: 0...UInt64.max))
    }

    package var description: String { text }

    /// The hash slot of the connection's user; nil for text that no server of ours made.
    package var userSlot: Int? {
        let characters = text.utf8
        guard characters.count == Self.length else { return nil }
        var high: UInt64 = 0
        for (index, character) in characters.enumerated() {
            guard let digit = Self.alphabet.firstIndex(of: character) else { return nil }
            if index < 3 { high = high << 5 | UInt64(digit) }
        }
        // The first three characters carry 15 bits: ten of the slot, the zero bit, and four random ones.
        guard high & 0b1_0000 == 0 else { return nil }
        return Int(high >> 5)
    }

    private static let length = 15
    private static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)
}
