// SPDX-License-Identifier: Apache-2.0

/// Checks UTF-8 (RFC 3629) byte by byte, so that text may arrive in pieces that split characters.
package struct UTF8Validator: Equatable, Sendable {
    /// How many continuation bytes must still come.
    private var missing: UInt8 = 0
    /// The lowest value of the next continuation byte; the range is narrower after E0, ED, F0 and F4.
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    package init() {}

    /// Goes on from a saved ``state``.
    package init(state: UInt32) {
        missing = UInt8(truncatingIfNeeded: state) & 3
        lowest = UInt8(truncatingIfNeeded: state >> 8)
        highest = UInt8(truncatingIfNeeded: state >> 16)
    }

    /// The state that must be saved to go on later, in 24 bits.
    package var state: UInt32 { UInt32(missing) | UInt32(lowest) << 8 | UInt32(highest) << 16 }

    /// True if no character is partly read.
    package var isAtBoundary: Bool { missing == 0 }

    /// Takes one byte; false if it cannot follow the bytes before it.
    package mutating func accept(_ byte: UInt8) -> Bool {
        if missing > 0 {
            guard byte >= lowest, byte <= highest else { return false }
            (lowest, highest) = (0x80, 0xBF)
            missing -= 1
            return true
        }
        switch byte {
        case ..<0x80: return true
        case 0xC2...0xDF: missing = 1
        case 0xE0: (missing, lowest) = (2, 0xA0)
        case 0xED: (missing, highest) = (2, 0x9F)
        case 0xE1...0xEF: missing = 2
        case 0xF0: (missing, lowest) = (3, 0x90)
        case 0xF1...0xF3: missing = 3
        case 0xF4: (missing, highest) = (3, 0x8F)
        default: return false
        }
        return true
    }

    /// Takes many bytes; false if one of them cannot follow the bytes before it.
    package mutating func accept(_ bytes: RawSpan) -> Bool {
        var index = 0
        let count = bytes.byteCount
        while index < count {
            // Eight bytes at once, because most text is ASCII.
            if missing == 0, count - index >= 8 {
                let word = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
                if word & 0x8080_8080_8080_8080 == 0 {
                    index += 8
                    continue
                }
            }
            let byte = unsafe bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            guard accept(byte) else { return false }
            index += 1
        }
        return true
    }
}
