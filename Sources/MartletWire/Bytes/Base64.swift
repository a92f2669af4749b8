// SPDX-License-Identifier: Apache-2.0

/// Base 64 (RFC 4648, section 4), with padding.
package enum Base64 {
    private static let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    static let characters = ByteSet(low: 0x03FF_8800_0000_0000, high: 0x07FF_FFFE_07FF_FFFE)

    package static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        encode(bytes.span) { text.append($0) }
        return String(decoding: text, as: UTF8.self)
    }

    /// Calls `put` with each character of the text.
    static func encode(_ bytes: Span<UInt8>, _ put: (UInt8) -> Void) {
        var start = 0
        while start < bytes.count {
            var group: UInt32 = 0
            for index in start..<start + 3 { group = group << 8 | (index < bytes.count ? UInt32(bytes[index]) : 0) }
            for digit in 0..<4 {
                let isPadding = start + digit > bytes.count
                let place = Int(group >> (18 - 6 * UInt32(digit))) & 63
                put(isPadding ? UInt8(ascii: "=") : unsafe alphabet.utf8Start[place])
            }
            start += 3
        }
    }

    /// Returns true for text that encodes exactly 16 bytes, as `Sec-WebSocket-Key` must (RFC 6455, 4.2.1).
    package static func isSixteenBytes(_ text: Span<UInt8>) -> Bool {
        guard text.count == 24, text[22] == UInt8(ascii: "="), text[23] == UInt8(ascii: "=") else { return false }
        return (0..<22).allSatisfy { characters.contains(text[$0]) }
    }
}
