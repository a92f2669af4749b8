// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// What a client resumes its session with: which connection it had, and a secret that proves this.
///
/// To clients it is opaque text of letters, digits, `-` and `_`. The connection's id comes first, which is no secret; then
/// 128 random bits.
package struct SessionToken: Equatable, Sendable {
    package let connection: ConnectionID
    /// Nil: the text is not one of ours, and fits no session.
    package let secret: SessionTokens.Secret?

    private static let idLength = 15
    private static let longest = 128

    package init(connection: ConnectionID, secret: SessionTokens.Secret?) {
        self.connection = connection
        self.secret = secret
    }

    /// Reads a token; nil for text that cannot be a token of any version.
    init?(_ text: Substring) {
        guard (1...Self.longest).contains(text.utf8.count), text.utf8.allSatisfy(Self.isPart) else { return nil }
        connection = ConnectionID(String(text.prefix(Self.idLength)))
        let bytes = Base64URL.decode(text.utf8.dropFirst(Self.idLength)) ?? []
        guard bytes.count == 16 else {
            secret = nil
            return
        }
        secret = .init(high: Self.number(bytes[..<8]), low: Self.number(bytes[8...]))
    }

    package var text: String {
        guard let secret else { return connection.text }
        let bytes = [secret.high, secret.low].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) }
        }
        return connection.text + Base64URL.encode(bytes)
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

    private static func isPart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }
}
