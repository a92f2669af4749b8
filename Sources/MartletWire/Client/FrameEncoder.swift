// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// Makes the frames that a server sends, which are neither masked nor fragmented.
package enum FrameEncoder {
    /// The bit in a frame's first byte that says that its payload is compressed (RFC 7692, section 6).
    package static let compressedBit: UInt8 = 0x40

    /// Returns how many bytes come before the payload of a frame of ours, which is not masked.
    @unsafe
    package static func headLength(of frame: UnsafeRawBufferPointer) -> Int {
        unsafe frame[1] < 126 ? 2 : frame[1] == 126 ? 4 : 10
    }

    /// Returns how many bytes the head before a payload of this length has.
    package static func headLength(payloadLength: Int) -> Int {
        payloadLength < 126 ? 2 : payloadLength < 65536 ? 4 : 10
    }

    /// Writes the head; the payload follows it.
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

    /// Makes a whole close frame, as it is sent.
    package static func closeFrame(_ reason: CloseReason) -> [UInt8] {
        closeFrame(code: reason.code, reason: reason.advice)
    }

    /// Makes a whole close frame, as it is sent.
    package static func closeFrame(code: UInt16, reason: String) -> [UInt8] {
        let payload = closePayload(code: code, reason: reason)
        return [0x80 | Opcode.close.rawValue, UInt8(payload.count)] + payload
    }

    /// Makes the payload of a close frame; the reason is truncated to what fits.
    package static func closePayload(code: UInt16, reason: String) -> [UInt8] {
        var text = Array(reason.utf8.prefix(123))
        while !text.isEmpty, String(validating: text, as: UTF8.self) == nil { text.removeLast() }
        return [UInt8(code >> 8), UInt8(code & 0xFF)] + text
    }
}
