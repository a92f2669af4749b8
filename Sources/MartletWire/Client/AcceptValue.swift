// SPDX-License-Identifier: Apache-2.0

/// The value of `Sec-WebSocket-Accept`: the base 64 of the SHA-1 of the client's key and a fixed text (RFC 6455, 4.2.2).
package struct AcceptValue: Equatable, Sendable {
    private static let fixedText: StaticString = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    private static let length = 28

    private var characters = InlineArray<28, UInt8>(repeating: 0)

    /// Makes the value for a key, which is 16 bytes in base 64.
    package init(forKey key: Span<UInt8>) {
        var message = InlineArray<60, UInt8>(repeating: 0)
        for index in 0..<24 { message[index] = key[index] }
        for index in 0..<36 { unsafe message[24 + index] = Self.fixedText.utf8Start[index] }
        var count = 0
        Base64.encode(SHA1.digest(message.span).span) {
            characters[count] = $0
            count += 1
        }
    }

    /// Reads a value that another worker wrote; nil if it cannot be one.
    init?(_ text: String) {
        guard text.utf8.count == Self.length else { return nil }
        for (index, byte) in text.utf8.enumerated() {
            guard Base64.characters.contains(byte) || byte == UInt8(ascii: "=") else { return nil }
            characters[index] = byte
        }
    }

    /// The value as text.
    package var text: String { characters.span.text(at: 0..<Self.length) }

    /// Appends the value.
    func write(to output: inout [UInt8]) { output.append(copying: characters.span) }

    package static func == (left: AcceptValue, right: AcceptValue) -> Bool {
        (0..<length).allSatisfy { left.characters[$0] == right.characters[$0] }
    }
}
