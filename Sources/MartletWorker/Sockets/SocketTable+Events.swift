// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// Clients that read server-sent events: one more form of frames, and messages that come by other requests.

extension SocketTable {
    /// The flags of a socket that only reads: whatever comes there is thrown away.
    static let streaming = ArenaSlot.Flags(
        rawValue: ArenaSlot.Flags.events.rawValue | ArenaSlot.Flags.discards.rawValue
    )

    /// What events have among the forms of a frame (``twins``) in place of a window.
    private static let noWindow = 0

    /// Returns true if the client of a slot reads server-sent events.
    func isStreaming(_ index: Int) -> Bool { arena.slot(index).flags.contains(.events) }

    /// Returns a frame as an event, which all clients share that read events; nil if there is no memory.
    func event(of frame: PreparedFrame) -> PreparedFrame? {
        let known = twins.first { $0.frame == frame.reference && $0.window == Self.noWindow }
        if let known { return known.twin }
        let bytes = unsafe UnsafeRawBufferPointer(arena.frameBytes(frame.reference))
        let event: PreparedFrame?
        if isText(frame) {
            let head = unsafe FrameEncoder.headLength(of: bytes)
            event = prepare(eventOf: unsafe Span<UInt8>(_unsafeBytes: UnsafeRawBufferPointer(rebasing: bytes[head...])))
        } else {
            // A ping; nothing else is sent to those who write nothing.
            event = try? prepare(raw: EventStream.comment)
        }
        guard let event else { return nil }
        twins.append((frame.reference, Self.noWindow, event))
        arena.journal.note(twin: event.reference, of: frame.reference)
        return event
    }

    /// Makes the event of a text; nil if there is no memory.
    func prepare(eventOf text: Span<UInt8>) -> PreparedFrame? {
        let byteCount = EventStream.byteCount(of: text)
        guard let frame = arena.makeFrame(byteCount) else { return nil }
        unsafe EventStream.write(text, to: arena.frameBytes(frame))
        return PreparedFrame(reference: frame, byteCount: UInt32(byteCount))
    }

    /// Makes a connection's first message in the form that it takes.
    func prepareFirst(_ text: [UInt8], for slot: ArenaSlot) throws(SendFailure) -> PreparedFrame {
        guard slot.flags.contains(.events) else { return try prepare(.text, text.span) }
        guard let frame = prepare(eventOf: text.span) else { throw .outOfMemory }
        return frame
    }

    /// Makes a connection's last frame in the form that it takes, from the payload of a close frame.
    func prepareClose(_ payload: [UInt8], for slot: ArenaSlot) throws(SendFailure) -> PreparedFrame {
        slot.flags.contains(.events) ? try prepare(raw: EventStream.close(payload)) : try prepare(.close, payload.span)
    }

    // MARK: Signs of life

    /// Returns the position in a connection's stream up to which everything is queued now.
    func queuedPosition(_ index: Int) -> UInt64 {
        let slot = arena.slot(index)
        return slot.headPosition &+ slot.queuedBytes
    }

    /// Returns true if the other end's kernel has acknowledged everything up to a position of the stream.
    ///
    /// Where no pong can come, this is the only sign of life; behind a proxy it is that of the proxy.
    func isAcknowledged(_ index: Int, upTo position: UInt64) -> Bool {
        let sent = arena.slot(index).sentPosition
        return sent &- UInt64(StreamSocket.unsentBytes(locals[index].descriptor)) >= position
    }

    // MARK: Messages

    /// Handles a message that a session's client has posted.
    ///
    /// Its count rises before it is marked as handled, so that it is neither lost nor handled twice, whatever happens.
    func take(_ text: Span<UInt8>, of index: Int, _ judge: Judge, _ deliver: Deliver) {
        let slot = arena.slot(index)
        arena.journal.beginHandling(index, slot, handled: Int(slot.received.handled))
        slot.messagesReceived &+= 1
        slot.flags.insert(.tokenArrived)
        var validator = UTF8Validator()
        let isText = unsafe validator.accept(text.bytes) && validator.isAtBoundary
        if text.count > limits.messageBytes {
            close(index, .messageTooBig)
        } else if !isText {
            close(index, .invalidText)
        } else if judge(.text, text.count) {
            deliver(.text, text)
        }
        slot.attempts = 0
        arena.journal.endHandling()
    }
}
