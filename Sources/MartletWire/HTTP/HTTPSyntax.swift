// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// Small rules of HTTP's syntax.
package enum HTTPSyntax {
    /// Returns true for a byte that may be in a method or a field name (RFC 9110, 5.6.2).
    package static func isToken(_ byte: UInt8) -> Bool { ByteSet.token.contains(byte) }

    /// Returns true for a valid Host field (RFC 9110, 7.2): a name or an address, with or without a port; or nothing.
    static func isAuthority(_ bytes: Span<UInt8>, at range: Range<Int>) -> Bool {
        var at = range.lowerBound
        let end = range.upperBound
        guard at < end, bytes[at] == UInt8(ascii: "[") else {
            while at < end, ByteSet.host.contains(bytes[at]) { at += 1 }
            return isPort(bytes, at: at..<end)
        }
        at += 1
        while at < end, ByteSet.host.contains(bytes[at]) || bytes[at] == UInt8(ascii: ":") { at += 1 }
        guard at > range.lowerBound + 1, at < end, bytes[at] == UInt8(ascii: "]") else { return false }
        return isPort(bytes, at: at + 1..<end)
    }

    /// Returns true for nothing, or a colon and at most five digits.
    private static func isPort(_ bytes: Span<UInt8>, at range: Range<Int>) -> Bool {
        if range.isEmpty { return true }
        guard range.count <= 6, bytes[range.lowerBound] == UInt8(ascii: ":") else { return false }
        return range.dropFirst().allSatisfy { bytes[$0] &- 0x30 < 10 }
    }

    /// Returns the text without spaces and tabs at both ends.
    package static func trimmed(_ text: Substring) -> String {
        var slice = text.utf8[...]
        while let first = slice.first, first == 0x20 || first == 0x09 { slice.removeFirst() }
        while let last = slice.last, last == 0x20 || last == 0x09 { slice.removeLast() }
        return String(Substring(slice))
    }

    /// Decodes percent-encoding (RFC 3986, 2.1); nil if two digits do not follow a `%`, or the result is not UTF-8.
    package static func percentDecoded(_ bytes: Span<UInt8>, at range: Range<Int>, plusIsSpace: Bool) -> String? {
        let isPlain = !range.contains {
            bytes[$0] == UInt8(ascii: "%") || (plusIsSpace && bytes[$0] == UInt8(ascii: "+"))
        }
        if isPlain { return bytes.text(at: range) }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(range.count)
        var at = range.lowerBound
        while at < range.upperBound {
            let byte = bytes[at]
            at += 1
            guard byte == UInt8(ascii: "%") else {
                decoded.append(plusIsSpace && byte == UInt8(ascii: "+") ? 0x20 : byte)
                continue
            }
            guard at + 2 <= range.upperBound, let first = Hexadecimal.value(of: bytes[at]),
                let second = Hexadecimal.value(of: bytes[at + 1])
            else { return nil }
            decoded.append(first << 4 | second)
            at += 2
        }
        return String(validating: decoded, as: UTF8.self)
    }

    /// Encodes everything but unreserved characters, for one path segment or query value.
    package static func percentEncoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "~"):
                result.append(Character(Unicode.Scalar(byte)))
            default:
                result += byte < 16 ? "%0" : "%"
                result += String(byte, radix: 16, uppercase: true)
            }
        }
        return result
    }
}
