// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

// permessage-deflate (RFC 7692): a frame is compressed once, for all the connections that agreed on it.

extension SocketTable {
    /// Returns the compressed form of a frame for a window; the frame itself if compression is not worth it.
    func compressed(_ frame: PreparedFrame, window: Int) -> PreparedFrame {
        guard Int(frame.byteCount) >= limits.compressionMinBytes else { return frame }
        if let known = twins.first(where: { $0.frame == frame.reference && $0.window == window }) { return known.twin }
        let twin = compress(frame, window: window)
        twins.append((frame.reference, window, twin))
        if twin.reference != frame.reference { arena.journal.note(twin: twin.reference, of: frame.reference) }
        return twin
    }

    func releaseTwin(of frame: PreparedFrame) {
        guard !twins.isEmpty else { return }
        for twin in twins where twin.frame == frame.reference && twin.twin.reference != frame.reference {
            arena.release(twin.twin.reference)
        }
        twins.removeAll { $0.frame == frame.reference }
    }

    private func compress(_ frame: PreparedFrame, window: Int) -> PreparedFrame {
        let bytes = unsafe UnsafeRawBufferPointer(arena.frameBytes(frame.reference))
        guard let opcode = unsafe Opcode(rawValue: bytes[0] & 0x0F), !opcode.isControl, let deflate else {
            return frame
        }
        let headLength = unsafe FrameEncoder.headLength(of: bytes)
        let payload = unsafe UnsafeRawBufferPointer(rebasing: bytes[headLength...])
        guard payload.count >= limits.compressionMinBytes else { return frame }
        let target = unsafe UnsafeMutableRawBufferPointer(
            rebasing: compressing.room(for: payload.count)[..<payload.count]
        )
        guard let length = unsafe deflate.compress(payload, window: window, into: target) else { return frame }
        let twinHead = FrameEncoder.headLength(payloadLength: length)
        guard let twin = arena.makeFrame(twinHead + length) else { return frame }
        let room = unsafe arena.frameBytes(twin)
        unsafe FrameEncoder.writeHead(opcode, isCompressed: true, payloadLength: length, to: room)
        unsafe UnsafeMutableRawBufferPointer(rebasing: room[twinHead...])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(target)[..<length]))
        return PreparedFrame(reference: twin, byteCount: UInt32(twinHead + length))
    }

    /// Expands a compressed message's payload, and checks it if it is text; throws why the connection fails.
    @unsafe
    func expanded(
        _ payload: UnsafeRawBufferPointer,
        _ opcode: Opcode,
        maximum: Int
    ) throws(CloseReason) -> UnsafeRawBufferPointer {
        guard let deflate else { throw .tryAgainLater }
        let bytes: UnsafeRawBufferPointer
        do throws(MessageDeflate.Failure) {
            unsafe bytes = try UnsafeRawBufferPointer(deflate.expand(payload, maximum: maximum))
        } catch {
            throw error == .tooLarge ? .messageTooBig : .invalidText
        }
        if opcode == .text {
            var validator = UTF8Validator()
            let isText = unsafe validator.accept(RawSpan(_unsafeBytes: bytes)) && validator.isAtBoundary
            if !isText { throw .invalidText }
        }
        return unsafe bytes
    }
}
