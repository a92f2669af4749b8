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
    package mutating func accept(_ bytes: RawSpan) -> Bool { acceptPrefix(of: bytes) == bytes.byteCount }

    /// Takes bytes up to the first that cannot follow those before it, and returns how many.
    package mutating func acceptPrefix(of bytes: RawSpan) -> Int {
        var index = 0
        let count = bytes.byteCount
        while index < count {
            if missing == 0 {
                let run = Self.shortRun(bytes, from: index)
                index += run
                if run > 0 { continue }
            }
            let byte = unsafe bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            guard accept(byte) else { return index }
            index += 1
        }
        return count
    }

    /// Returns how many of the next bytes are eight of ASCII, or a character of two or three bytes without a narrower range.
    ///
    /// Most text consists of these.
    private static func shortRun(_ bytes: RawSpan, from index: Int) -> Int {
        guard index + 8 <= bytes.byteCount else { return 0 }
        let word = unsafe UInt64(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
        if word & 0x8080_8080_8080_8080 == 0 { return 8 }
        // The lowest byte is the first one.
        let lead = UInt8(truncatingIfNeeded: word)
        if lead >= 0xE1, lead <= 0xEF, lead != 0xED { return word & 0xC0C000 == 0x808000 ? 3 : 0 }
        if lead >= 0xC2, lead <= 0xDF { return word & 0xC000 == 0x8000 ? 2 : 0 }
        return 0
    }
}
