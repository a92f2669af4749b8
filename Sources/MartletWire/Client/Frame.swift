package import MartletCore

/// What a WebSocket frame carries (RFC 6455, section 5.2).
package enum Opcode: UInt8, Sendable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    package var isControl: Bool { rawValue >= 8 }
}

/// The head of a frame: everything before its payload.
package struct FrameHeader: Equatable, Sendable {
    package let opcode: Opcode
    package let isFinal: Bool
    /// The message that begins here is compressed (RSV1; RFC 7692, section 6).
    package let isCompressed: Bool
    /// The masking key as its bytes lie in memory, or nil where the frame is not masked.
    package let mask: UInt32?
    package let payloadLength: Int
    /// Bytes of the head itself.
    package let length: Int

    /// The most bytes a head can have.
    package static let longest = 14

    package enum Parsed: Equatable, Sendable {
        case header(FrameHeader)
        /// The head is not complete yet.
        case incomplete
        /// The bytes break the protocol.
        case malformed
    }

    /// Reads the head that begins at `offset`.
    ///
    /// Any bit or length that RFC 6455 forbids is malformed.
    package static func parse(_ bytes: RawSpan, at offset: Int) -> Parsed {
        let available = bytes.byteCount - offset
        guard available >= 2 else { return .incomplete }
        let first = byte(bytes, offset)
        let second = byte(bytes, offset + 1)
        guard first & 0x30 == 0, let opcode = Opcode(rawValue: first & 0x0F) else { return .malformed }
        let isCompressed = first & 0x40 != 0
        if isCompressed, opcode.isControl || opcode == .continuation { return .malformed }
        let isFinal = first & 0x80 != 0
        let isMasked = second & 0x80 != 0
        let shortLength = Int(second & 0x7F)
        if opcode.isControl, !isFinal || shortLength > 125 { return .malformed }
        let lengthBytes = shortLength == 126 ? 2 : shortLength == 127 ? 8 : 0
        let length = 2 + lengthBytes + (isMasked ? 4 : 0)
        guard available >= length else { return .incomplete }
        var payloadLength = UInt64(shortLength)
        if lengthBytes > 0 {
            payloadLength = 0
            for index in 0..<lengthBytes {
                payloadLength = payloadLength << 8 | UInt64(byte(bytes, offset + 2 + index))
            }
            // The shortest form is demanded, and the top bit must be 0.
            if payloadLength < (lengthBytes == 2 ? 126 : 65536) || payloadLength > UInt64(Int.max) { return .malformed }
        }
        var mask: UInt32?
        if isMasked {
            mask = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset + length - 4, as: UInt32.self)
        }
        return .header(
            FrameHeader(
                opcode: opcode,
                isFinal: isFinal,
                isCompressed: isCompressed,
                mask: mask,
                payloadLength: Int(payloadLength),
                length: length
            )
        )
    }

    private static func byte(_ bytes: RawSpan, _ offset: Int) -> UInt8 {
        unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }
}

/// Frames that a server sends: not masked, not fragmented.
package enum FrameEncoder {
    /// Bytes of the head before a payload of this length.
    package static func headLength(payloadLength: Int) -> Int {
        payloadLength < 126 ? 2 : payloadLength < 65536 ? 4 : 10
    }

    /// Writes the head; the payload goes behind it.
    package static func writeHead(
        _ opcode: Opcode,
        isCompressed: Bool = false,
        payloadLength: Int,
        to target: UnsafeMutableRawBufferPointer
    ) {
        unsafe target[0] = 0x80 | (isCompressed ? 0x40 : 0) | opcode.rawValue
        switch payloadLength {
        case ..<126:
            unsafe target[1] = UInt8(payloadLength)
        case ..<65536:
            unsafe target[1] = 126
            unsafe target[2] = UInt8(truncatingIfNeeded: payloadLength >> 8)
            unsafe target[3] = UInt8(truncatingIfNeeded: payloadLength)
        default:
            unsafe target[1] = 127
            for index in 0..<8 {
                unsafe target[2 + index] = UInt8(truncatingIfNeeded: payloadLength >> (56 - 8 * index))
            }
        }
    }

    /// A whole close frame, as it is sent.
    package static func closeFrame(_ reason: CloseReason) -> [UInt8] {
        let payload = closePayload(code: reason.code, reason: reason.advice)
        return [0x80 | Opcode.close.rawValue, UInt8(payload.count)] + payload
    }

    /// The payload of a close frame; the advice is cut to what fits.
    package static func closePayload(code: UInt16, reason: String) -> [UInt8] {
        var text = Array(reason.utf8.prefix(123))
        while !text.isEmpty, String(validating: text, as: UTF8.self) == nil { text.removeLast() }
        return [UInt8(code >> 8), UInt8(code & 0xFF)] + text
    }
}

/// Masking (RFC 6455, section 5.3): its own inverse.
package enum Masking {
    /// Copies `source` to `target`, which has room for it, and masks it with a key as it lies in memory.
    @unsafe
    package static func copy(
        _ source: UnsafeRawPointer,
        _ count: Int,
        to target: UnsafeMutableRawPointer,
        key: UInt32
    ) {
        let wide = UInt64(key) << 32 | UInt64(key)
        var index = 0
        while index + 8 <= count {
            let word = unsafe source.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            unsafe target.storeBytes(of: word ^ wide, toByteOffset: index, as: UInt64.self)
            index += 8
        }
        while index < count {
            let byte = unsafe source.load(fromByteOffset: index, as: UInt8.self)
            let part = UInt8(truncatingIfNeeded: key.littleEndian >> UInt32(8 * (index & 3)))
            unsafe target.storeBytes(of: byte ^ part, toByteOffset: index, as: UInt8.self)
            index += 1
        }
    }
}
