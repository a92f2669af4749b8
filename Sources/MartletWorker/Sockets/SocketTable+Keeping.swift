// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// Received bytes that are not a whole message yet.

extension SocketTable {
    /// Keeps the bytes of an incomplete frame or message in the connection's own chunk.
    func keep(
        _ index: Int,
        _ slot: ArenaSlot,
        _ reader: inout MessageReader,
        _ buffer: ArenaSlot.ReceiveBuffer,
        expecting expected: Int,
        of bytes: RawSpan
    ) {
        let have = Int(buffer.length - buffer.handled)
        if reader.isWorthMerging {
            merge(index, slot, &reader, buffer, length: have, of: bytes)
            return
        }
        let consumed = reader.consumed
        let rest = have - consumed
        reader.didDrop(consumed)
        slot.reader = reader
        if rest == 0 {
            freeReceiveChunk(index, slot)
            return
        }
        let isInChunk = buffer.chunk != ArenaSlot.ReceiveBuffer.landing
        // Handled bytes stay in front while there is room at the end: bytes that are being read must not move.
        if isInChunk, Int(buffer.capacity - buffer.length) >= max(1, expected - have) { return }
        let needed = max(expected - consumed, rest + 1)
        // Room grows with what has really arrived, not with what a head announces.
        let capacity = min(needed, max(2 * rest, 4096))
        _ = unsafe replaceReceiveChunk(index, slot, buffer, capacity: capacity, length: rest) { target in
            unsafe bytes.extracting(consumed...).withUnsafeBytes { unsafe target.copyMemory(from: $0) }
        }
    }

    private func merge(
        _ index: Int,
        _ slot: ArenaSlot,
        _ reader: inout MessageReader,
        _ buffer: ArenaSlot.ReceiveBuffer,
        length have: Int,
        of bytes: RawSpan
    ) {
        let behind = reader.offset
        let merged = reader.mergedLength
        let length = merged + have - behind
        var copy = reader
        let isKept = unsafe replaceReceiveChunk(index, slot, buffer, capacity: 2 * length, length: length) { target in
            unsafe copy.merge(bytes, into: target)
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: target[merged...])
            unsafe bytes.extracting(behind...).withUnsafeBytes { unsafe rest.copyMemory(from: $0) }
        }
        guard isKept else { return }
        reader = copy
        slot.reader = copy
    }

    /// Puts a new chunk, filled by `fill`, in place of the connection's receive chunk.
    private func replaceReceiveChunk(
        _ index: Int,
        _ slot: ArenaSlot,
        _ buffer: ArenaSlot.ReceiveBuffer,
        capacity: Int,
        length: Int,
        _ fill: (UnsafeMutableRawBufferPointer) -> Void
    ) -> Bool {
        let more = Self.counted(capacity) - Self.counted(Int(buffer.capacity))
        if more > 0, !makeRoom(for: index, more) { return false }
        guard let made = unsafe arena.makeReceiveChunk(capacity, filled: length, fill) else {
            markGone(index)
            return false
        }
        slot.received = .init(
            chunk: made.chunk,
            capacity: made.capacity,
            length: UInt32(length),
            position: buffer.position
        )
        partialBytes += Self.counted(Int(made.capacity))
        if Self.counted(Int(made.capacity)) > 0 { beginPartial(index) } else { endPartial(index) }
        free(buffer)
        return true
    }

    func freeReceiveChunk(_ index: Int, _ slot: ArenaSlot) {
        endPartial(index)
        let buffer = slot.received
        guard buffer.chunk != 0 else { return }
        slot.received = .init(position: buffer.position)
        free(buffer)
    }

    private func free(_ buffer: ArenaSlot.ReceiveBuffer) {
        guard buffer.chunk != 0, buffer.chunk != ArenaSlot.ReceiveBuffer.landing else { return }
        partialBytes -= Self.counted(Int(buffer.capacity))
        arena.free(buffer.chunk)
    }
}
