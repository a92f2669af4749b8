// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// The move of a session from one slot to another. Both have it for a moment, and one store decides which is right.

extension ArenaJournal {
    /// Notes that a session moves from one slot to another; it has moved as soon as the other slot is not vacant.
    package func beginMove(from: Int, to: Int) {
        store(UInt32(from + 1), Field.moveFrom)
        atomicMemoryFence(ordering: .releasing)
        store(UInt32(to + 1), Field.moveTo)
    }

    /// Notes that the slot that a session has left has nothing of it any more.
    package func endMove() {
        atomicMemoryFence(ordering: .releasing)
        store(UInt32(0), Field.moveTo)
    }

    /// The move of a session that was begun and not ended.
    package var move: (from: Int, to: Int)? {
        let (from, to): (UInt32, UInt32) = (load(Field.moveFrom), load(Field.moveTo))
        return from == 0 || to == 0 ? nil : (Int(from) - 1, Int(to) - 1)
    }
}
