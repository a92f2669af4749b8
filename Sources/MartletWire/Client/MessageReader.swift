// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// Finds messages in the bytes that a client sent (RFC 6455, sections 5.4 to 5.6): the receiving half of the codec.
///
/// The bytes stay where they were received, raw and masked, until their message is complete, so that a successor can
/// read them again after a crash. The reader holds only positions: it is a small value in the connection's slot. All
/// offsets are relative to the first byte that is not handled yet. The owner may drop ``consumed`` bytes from the front
/// at any time; it then calls ``didDrop(_:)``.
package struct MessageReader: Equatable, Sendable {
    /// What the reader found.
    package enum Event: Equatable, Sendable {
        /// More bytes are needed; `expected` is how many there will be in total, if that is known.
        case needsMore(expected: Int)
        /// A message is complete: take it with ``copyMessage(_:into:)``.
        case message(Opcode, byteCount: Int)
        /// A ping, to be answered with the same payload.
        case ping([UInt8])
        case pong([UInt8])
        /// The client's close frame; the code is nil if it gave none.
        case close(code: UInt16?)
        /// The client broke the protocol or a limit: close with this reason, and read no further.
        case failed(CloseReason)
    }

    /// The offset where the next frame's head begins.
    package private(set) var offset = 0
    /// The offset where the first data frame of the current message begins; `offset` if no message has begun.
    private var messageStart = 0
    private var messageOpcode: Opcode?
    private var messageLength = 0
    /// Whether the current message is compressed; after ``copyMessage(_:into:)``, whether the copied one was.
    package private(set) var isCompressed = false
    private var utf8 = UTF8Validator()
    /// Whether a message was reported that is not taken yet.
    private var isComplete = false
    /// How many fragments, without the last of each message, were read since this was taken; not part of ``record``.
    package private(set) var fragments = 0

    package init() {}

    package mutating func takeFragments() -> Int {
        defer { fragments = 0 }
        return fragments
    }

    /// How many bytes at the front have been handled for good.
    package var consumed: Int { messageOpcode == nil ? offset : messageStart }

    /// True between messages, when the connection needs no receive buffer.
    package var isIdle: Bool { messageOpcode == nil }

    /// How many payload bytes of the current message have arrived.
    package var gathered: Int { messageLength }

    package mutating func didDrop(_ count: Int) {
        offset -= count
        messageStart = max(0, messageStart - count)
    }

    /// Reads on; call this until it needs more bytes.
    ///
    /// - Parameters:
    ///   - bytes: Everything that was received and not dropped.
    ///   - maximum: The largest message that is accepted.
    ///   - allowsCompression: Whether permessage-deflate was agreed on.
    /// - Returns: What was found.
    package mutating func next(_ bytes: RawSpan, maximum: Int, allowsCompression: Bool = false) -> Event {
        precondition(!isComplete, "the message before was not taken")
        while true {
            switch FrameHeader.parse(bytes, at: offset) {
            case .incomplete: return .needsMore(expected: 0)
            case .malformed: return .failed(.protocolError)
            case .header(let header):
                guard let mask = header.mask else { return .failed(.protocolError) }  // clients must mask (5.1)
                if header.isCompressed, !allowsCompression { return .failed(.protocolError) }
                if let failure = check(header, maximum: maximum) { return .failed(failure) }
                let end = offset + header.length + header.payloadLength
                guard bytes.byteCount >= end else { return .needsMore(expected: end) }
                if header.opcode.isControl { return control(header, mask, bytes) }
                if let event = data(header, mask, bytes) { return event }
            }
        }
    }

    private func check(_ header: FrameHeader, maximum: Int) -> CloseReason? {
        if header.opcode.isControl { return nil }
        if (header.opcode == .continuation) != (messageOpcode != nil) { return .protocolError }
        // Data that cannot be compressed grow a little; the true size is known when they are expanded.
        let isCompressed = header.isCompressed || (header.opcode == .continuation && self.isCompressed)
        let limit = isCompressed ? maximum + maximum / 256 + 64 : maximum
        return header.payloadLength > limit - messageLength ? .messageTooBig : nil
    }

    /// Takes a data frame; returns nil if the message continues in another one.
    private mutating func data(_ header: FrameHeader, _ mask: UInt32, _ bytes: RawSpan) -> Event? {
        let payload = offset + header.length
        if messageOpcode == nil {
            messageOpcode = header.opcode
            isCompressed = header.isCompressed
            messageStart = offset
            messageLength = 0
            utf8 = UTF8Validator()
        }
        offset = payload + header.payloadLength
        messageLength += header.payloadLength
        // A text in a single frame is checked when it is copied; fragments are checked as they arrive, to fail at once.
        let isWhole = header.isFinal && header.opcode != .continuation
        if messageOpcode == .text, !isWhole, !isCompressed {
            let piece = bytes.extracting(payload..<offset)
            guard acceptMasked(piece, mask) else { return .failed(.invalidText) }
            if header.isFinal, !utf8.isAtBoundary { return .failed(.invalidText) }
        }
        guard header.isFinal else {
            fragments += 1
            return nil
        }
        isComplete = true
        return .message(messageOpcode ?? .text, byteCount: messageLength)
    }

    private mutating func acceptMasked(_ piece: RawSpan, _ mask: UInt32) -> Bool {
        let key = mask.littleEndian
        for index in 0..<piece.byteCount {
            let byte = unsafe piece.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            let part = UInt8(truncatingIfNeeded: key >> UInt32(8 * (index & 3)))
            guard utf8.accept(byte ^ part) else { return false }
        }
        return true
    }

    private mutating func control(_ header: FrameHeader, _ mask: UInt32, _ bytes: RawSpan) -> Event {
        let payload = unmasked(bytes, offset + header.length, header.payloadLength, mask)
        offset += header.length + header.payloadLength
        if messageOpcode == nil { messageStart = offset }
        switch header.opcode {
        case .ping: return .ping(payload)
        case .pong: return .pong(payload)
        default: return close(payload)
        }
    }

    private func close(_ payload: [UInt8]) -> Event {
        if payload.isEmpty { return .close(code: nil) }
        guard payload.count >= 2 else { return .failed(.protocolError) }
        let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
        guard CloseReason.isAllowedOnWire(code) else { return .failed(.protocolError) }
        guard String(validating: payload[2...], as: UTF8.self) != nil else { return .failed(.invalidText) }
        return .close(code: code)
    }

    private func unmasked(_ bytes: RawSpan, _ start: Int, _ count: Int, _ mask: UInt32) -> [UInt8] {
        let key = mask.littleEndian
        return (0..<count).map { index in
            let byte = unsafe bytes.unsafeLoad(fromByteOffset: start + index, as: UInt8.self)
            return byte ^ UInt8(truncatingIfNeeded: key >> UInt32(8 * (index & 3)))
        }
    }

    // MARK: The reader's record

    /// The reader's state as it is kept in a connection's slot, between events.
    package struct Record: Equatable, Sendable {
        /// ``offset`` in the low half, the message's start in the high half.
        package let positions: UInt64
        /// The message's length in the low half, then its opcode (0: none), and the state of a partly read character.
        package let state: UInt64

        package init(positions: UInt64, state: UInt64) {
            self.positions = positions
            self.state = state
        }
    }

    package var record: Record {
        let positions = UInt64(UInt32(offset)) | UInt64(UInt32(messageStart)) << 32
        let opcode = (messageOpcode?.rawValue ?? 0) | (isCompressed ? 0x80 : 0)
        let state = UInt64(UInt32(messageLength)) | UInt64(opcode) << 32
        return Record(positions: positions, state: state | UInt64(utf8.state) << 40)
    }

    package init(_ record: Record) {
        offset = Int(record.positions & 0xFFFF_FFFF)
        messageStart = Int(record.positions >> 32)
        messageLength = Int(record.state & 0xFFFF_FFFF)
        let opcode = UInt8(truncatingIfNeeded: record.state >> 32)
        messageOpcode = opcode & 0x7F == 0 ? nil : Opcode(rawValue: opcode & 0x7F)
        isCompressed = opcode & 0x80 != 0
        utf8 = UTF8Validator(state: UInt32(truncatingIfNeeded: record.state >> 40))
    }

    // MARK: Taking a message

    /// Copies the complete message's payload, unmasked, and goes on after it; false if a text is not UTF-8.
    ///
    /// `target` has room for the byte count that was reported.
    package mutating func copyMessage(_ bytes: RawSpan, into target: UnsafeMutableRawBufferPointer) -> Bool {
        precondition(isComplete, "no message is complete")
        let isFragmented = unsafe copyPayload(bytes, into: target) > 1
        let count = messageLength
        let isText = messageOpcode == .text
        messageOpcode = nil
        messageStart = offset
        messageLength = 0
        isComplete = false
        // A compressed text is checked by the caller, which expands it.
        guard isText, !isFragmented, !isCompressed else { return true }
        var validator = UTF8Validator()
        let text = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: target[..<count]))
        return validator.accept(text) && validator.isAtBoundary
    }

    /// Skips the complete message without looking at its contents.
    package mutating func skipMessage() {
        precondition(isComplete, "no message is complete")
        messageOpcode = nil
        messageStart = offset
        messageLength = 0
        isComplete = false
    }

    /// Copies the payload of every data frame from the message's start to `offset`, and returns the number of frames.
    private func copyPayload(_ bytes: RawSpan, into target: UnsafeMutableRawBufferPointer) -> Int {
        var position = messageStart
        var copied = 0
        var frames = 0
        while position < offset {
            guard case .header(let header) = FrameHeader.parse(bytes, at: position) else { break }
            let payload = position + header.length
            position = payload + header.payloadLength
            if header.opcode.isControl { continue }
            frames += 1
            unsafe bytes.withUnsafeBytes { source in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                unsafe Masking.copy(from + payload, header.payloadLength, to: to + copied, key: header.mask ?? 0)
            }
            copied += header.payloadLength
        }
        return frames
    }

    // MARK: Merging fragments

    /// True if frame heads take up so much room that the fragments should be merged.
    ///
    /// A message may be divided into any number of fragments, with pings between them; merging limits what is kept to
    /// about twice the message's size.
    package var isWorthMerging: Bool {
        messageOpcode != nil && !isComplete && offset - messageStart > 2 * messageLength + 65536
    }

    /// How many bytes the frame has that ``merge(_:into:)`` writes.
    package var mergedLength: Int { mergedHeadLength + messageLength }

    private var mergedHeadLength: Int { FrameEncoder.headLength(payloadLength: messageLength) + 4 }

    /// Writes the fragments so far as one fragment with an empty mask, and goes on after it.
    ///
    /// `target` has room for ``mergedLength`` bytes; the rest of the received bytes belongs directly after them.
    package mutating func merge(_ bytes: RawSpan, into target: UnsafeMutableRawBufferPointer) {
        let headLength = mergedHeadLength
        unsafe FrameEncoder.writeHead(
            messageOpcode ?? .text,
            isCompressed: isCompressed,
            payloadLength: messageLength,
            to: target
        )
        unsafe target[0] &= 0x7F  // not the last fragment
        unsafe target[1] |= 0x80  // masked, like every frame of a client, with a key that changes nothing
        for index in headLength - 4..<headLength { unsafe target[index] = 0 }
        _ = unsafe copyPayload(bytes, into: UnsafeMutableRawBufferPointer(rebasing: target[headLength...]))
        offset = headLength + messageLength
        messageStart = 0
    }
}
