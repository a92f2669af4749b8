// SPDX-License-Identifier: Apache-2.0

internal import CZlib

/// Base 64 (RFC 4648, section 4), with padding.
package enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    package static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = (0..<3).reduce(UInt32(0)) {
                $0 << 8 | (start + $1 < bytes.count ? UInt32(bytes[start + $1]) : 0)
            }
            for digit in 0..<4 {
                let isPadding = start + digit > bytes.count
                text.append(isPadding ? UInt8(ascii: "=") : alphabet[Int(group >> (18 - 6 * UInt32(digit))) & 63])
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Returns true for text that encodes exactly 16 bytes, as `Sec-WebSocket-Key` must (RFC 6455, 4.2.1).
    package static func isSixteenBytes(_ text: String) -> Bool {
        let characters = Array(text.utf8)
        guard characters.count == 24, characters.hasSuffix("==") else { return false }
        return characters[..<22].allSatisfy(alphabet.contains)
    }
}

extension [UInt8] {
    fileprivate func hasSuffix(_ text: StaticString) -> Bool {
        suffix(text.utf8CodeUnitCount).elementsEqual("\(text)".utf8)
    }
}
