// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// Frames that wait to be sent, and the ends of connections.

extension SocketTable {
    /// Frames a message once, in the arena.
    func prepare(_ opcode: Opcode, _ payload: Span<UInt8>) throws(SendFailure) -> PreparedFrame {
        let headLength = FrameEncoder.headLength(payloadLength: payload.count)
        guard let frame = arena.makeFrame(headLength + payload.count) else { throw .outOfMemory }
        let target = unsafe arena.frameBytes(frame)
        unsafe FrameEncoder.writeHead(opcode, payloadLength: payload.count, to: target)
        unsafe payload.withUnsafeBytes { source in
            unsafe UnsafeMutableRawBufferPointer(rebasing: target[headLength...]).copyMemory(from: source)
        }
        return PreparedFrame(reference: frame, byteCount: UInt32(headLength + payload.count))
    }

    /// Queues one frame for one socket; a socket that cannot take it is closed.
    func queue(_ opcode: Opcode, _ payload: Span<UInt8>, to handle: Int) {
        guard let frame = try? prepare(opcode, payload) else {
            loseMessage(handle)
            markGone(handle)
            return
        }
        defer { release(frame) }
        switch send(frame, to: handle) {
        case .queued, .held, .failed(.closed): break
        case .failed(.queueFull): close(handle, .tooSlow)
        case .failed:
            loseMessage(handle)
            close(handle, .internalError)
        }
    }

    /// Starts the closing handshake, with this payload, after everything that is queued.
    ///
    /// Its session, if it has one still, has ended.
    func beginClosing(_ handle: Int, _ slot: ArenaSlot, payload: [UInt8]) {
        slot.state = .closing
        slot.flags.insert(.closeQueued)
        arena.journal.endMove()
        endSession(handle, slot)
        unsafe closing.append(handle, locals[handle].generation, deadline: loop.now + limits.closeTimeout)
        guard let frame = try? prepareClose(payload, for: slot) else {
            markGone(handle)
            return
        }
        defer { release(frame) }
        guard arena.append(frame.reference, byteCount: frame.byteCount, to: slot) else {
            markGone(handle)
            return
        }
        queuedBytes += Int(frame.byteCount)
        markDirty(handle)
    }

    /// Queues a connection's first message; false if there is no memory.
    func queue(first payload: [UInt8], to handle: Int) -> Bool {
        guard let frame = try? prepareFirst(payload, for: arena.slot(handle)) else { return false }
        defer { release(frame) }
        return queue(frame.reference, byteCount: frame.byteCount, to: handle)
    }

    func queue(raw bytes: [UInt8], to handle: Int) -> Bool {
        guard let frame = try? prepare(raw: bytes) else { return false }
        defer { release(frame) }
        return queue(frame.reference, byteCount: frame.byteCount, to: handle)
    }

    /// Makes a frame of bytes that are sent as they are.
    func prepare(raw bytes: [UInt8]) throws(SendFailure) -> PreparedFrame {
        guard let frame = arena.makeFrame(bytes.count) else { throw .outOfMemory }
        unsafe arena.frameBytes(frame).copyBytes(from: bytes)
        return PreparedFrame(reference: frame, byteCount: UInt32(bytes.count))
    }

    func queue(_ frame: UInt32, byteCount: UInt32, isCounted: Bool = false, to handle: Int) -> Bool {
        guard arena.append(frame, byteCount: byteCount, isCounted: isCounted, to: arena.slot(handle)) else {
            return false
        }
        queuedBytes += Int(byteCount)
        markDirty(handle)
        return true
    }

    /// Drops all queued frames, except one that was partly sent.
    func dropQueue(of slot: ArenaSlot) {
        let begun = slot.sentPosition > slot.headPosition ? 1 : 0
        for entry in arena.truncate(slot, keeping: begun) {
            queuedBytes -= Int(entry.byteCount)
            arena.release(entry.frame)
            tally.counters[.messagesDropped] += 1
        }
    }

    /// Holds what is queued until ``unhold(_:)``; messages are still received.
    func hold(_ slot: Int) { locals[slot].isHeld = true }

    func unhold(_ slot: Int) {
        guard locals[slot].isHeld else { return }
        locals[slot].isHeld = false
        markDirty(slot)
    }

    func markDirty(_ slot: Int) {
        if locals[slot].isDirty { return }
        locals[slot].isDirty = true
        dirty.append(slot)
    }

    /// Closes every socket, including those that no manager knows (echoes).
    func closeAll(_ reason: CloseReason) {
        for handle in locals.indices where locals[handle].descriptor >= 0 {
            close(handle, code: reason.code, reason: reason.advice)
        }
    }
}
