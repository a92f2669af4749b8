// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// Small rules of HTTP's syntax.
package enum HTTPSyntax {
    /// Returns true for a byte that may be in a method or a field name (RFC 9110, 5.6.2).
    package static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    /// Returns true for a valid Host field (RFC 9110, 7.2): a name or an address, with or without a port; or nothing.
    package static func isAuthority(_ text: String) -> Bool {
        let bytes = text.utf8[...]
        var host = bytes
        if bytes.first == UInt8(ascii: "[") {
            guard let end = bytes.firstIndex(of: UInt8(ascii: "]")) else { return false }
            host = bytes[bytes.index(after: bytes.startIndex)..<end]
            guard !host.isEmpty, host.allSatisfy({ isHostByte($0) || $0 == UInt8(ascii: ":") }) else { return false }
            return isPort(bytes[bytes.index(after: end)...])
        }
        if let colon = bytes.firstIndex(of: UInt8(ascii: ":")) {
            host = bytes[..<colon]
            guard isPort(bytes[colon...]) else { return false }
        }
        return host.allSatisfy(isHostByte)
    }

    /// Returns true for nothing, or a colon and at most five digits.
    private static func isPort(_ bytes: Substring.UTF8View) -> Bool {
        guard let first = bytes.first else { return true }
        let digits = bytes.dropFirst()
        return first == UInt8(ascii: ":") && digits.count <= 5 && digits.allSatisfy { (0x30...0x39).contains($0) }
    }

    /// Returns true for a byte of a host: unreserved, a sub-delimiter, or percent-encoding (RFC 3986, 3.2.2).
    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "-._~%!$&'()*+,;=".utf8.contains(byte)
        }
    }

    /// Returns the text without spaces and tabs at both ends.
    package static func trimmed(_ text: Substring) -> String {
        var slice = text.utf8[...]
        while let first = slice.first, first == 0x20 || first == 0x09 { slice.removeFirst() }
        while let last = slice.last, last == 0x20 || last == 0x09 { slice.removeLast() }
        return String(Substring(slice))
    }

    /// Decodes percent-encoding (RFC 3986, 2.1); nil if two digits do not follow a `%`, or the result is not UTF-8.
    package static func percentDecoded(_ text: Substring, plusIsSpace: Bool) -> String? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        var iterator = text.utf8.makeIterator()
        while let byte = iterator.next() {
            if byte == UInt8(ascii: "%") {
                guard let first = iterator.next().flatMap(Hexadecimal.value(of:)),
                    let second = iterator.next().flatMap(Hexadecimal.value(of:))
                else { return nil }
                bytes.append(first << 4 | second)
            } else {
                bytes.append(plusIsSpace && byte == UInt8(ascii: "+") ? 0x20 : byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
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
