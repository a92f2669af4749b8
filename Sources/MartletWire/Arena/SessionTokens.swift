// SPDX-License-Identifier: Apache-2.0

/// The secrets by which a session can be resumed.
///
/// Two are good, because an answer with the newest one may be lost: the newest, and the one that was used to get it.
package struct SessionTokens: Equatable, Sendable {
    /// 128 random bits.
    package struct Secret: Equatable, Sendable {
        package let high: UInt64
        package let low: UInt64

        package init(high: UInt64, low: UInt64) {
            self.high = high
            self.low = low
        }

        /// Compares all bits in any case, so that the time it takes reveals nothing.
        package static func == (left: Secret, right: Secret) -> Bool {
            (left.high ^ right.high) | (left.low ^ right.low) == 0
        }
    }

    package let newest: Secret
    /// The one that was good before; nil: none is good any more, or there was none.
    package let earlier: Secret?

    package init(newest: Secret, earlier: Secret? = nil) {
        self.newest = newest
        self.earlier = earlier
    }
}

extension ByteWriter {
    mutating func put(_ tokens: SessionTokens?) {
        guard let tokens else { return put(UInt8(0)) }
        put(UInt8(tokens.earlier == nil ? 1 : 2))
        put(tokens.newest.high)
        put(tokens.newest.low)
        guard let earlier = tokens.earlier else { return }
        put(earlier.high)
        put(earlier.low)
    }
}

extension ByteReader {
    mutating func sessionTokens() throws(WireError) -> SessionTokens? {
        let count = try integer(UInt8.self)
        guard count <= 2 else { throw .unknownValue }
        if count == 0 { return nil }
        let newest = SessionTokens.Secret(high: try integer(), low: try integer())
        if count == 1 { return SessionTokens(newest: newest) }
        return SessionTokens(newest: newest, earlier: .init(high: try integer(), low: try integer()))
    }
}
