// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// The head of a frame: everything before its payload.
package struct FrameHeader: Equatable, Sendable {
    package let opcode: Opcode
    package let isFinal: Bool
    /// The message that begins here is compressed (RSV1; RFC 7692, section 6).
    package let isCompressed: Bool
    /// The masking key, with its bytes in the order of memory; nil if the frame is not masked.
    package let mask: UInt32?
    package let payloadLength: Int
    /// How many bytes the head itself has.
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
    /// Any bit or length that RFC 6455 forbids makes the head malformed.
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
            // The shortest form is required, and the top bit must be 0.
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
