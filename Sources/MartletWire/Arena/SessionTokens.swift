// SPDX-License-Identifier: Apache-2.0

/// The secrets by which a session can be resumed.
///
/// Several are good, because an answer with the newest one may be lost: the newest, the one that was used to get it, and, where
/// that was not the newest itself, the one that was. A request may arrive after its client has given it up, and has gone on with
/// another one: both have used the same token, and nobody knows which answer the client has.
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

    /// The most that are good besides the newest.
    static let mostEarlier = 3

    package let newest: Secret
    /// Those that are good, too, until a message comes from a client with the newest.
    package let earlier: [Secret]

    package init(newest: Secret, earlier: [Secret] = []) {
        self.newest = newest
        self.earlier = Array(earlier.prefix(Self.mostEarlier))
    }

    /// Returns the tokens after a resume with one of these; `secret` is the new one.
    package func after(_ used: Secret, newest secret: Secret) -> SessionTokens {
        if used == newest { return SessionTokens(newest: secret, earlier: [used]) }
        return SessionTokens(newest: secret, earlier: [used, newest] + earlier.filter { $0 != used })
    }
}

extension ByteWriter {
    mutating func put(_ tokens: SessionTokens?) {
        guard let tokens else { return put(UInt8(0)) }
        put(UInt8(1 + tokens.earlier.count))
        for secret in [tokens.newest] + tokens.earlier {
            put(secret.high)
            put(secret.low)
        }
    }
}

extension ByteReader {
    mutating func sessionTokens() throws(WireError) -> SessionTokens? {
        let count = Int(try integer(UInt8.self))
        guard count <= 1 + SessionTokens.mostEarlier else { throw .unknownValue }
        if count == 0 { return nil }
        let newest = SessionTokens.Secret(high: try integer(), low: try integer())
        var earlier: [SessionTokens.Secret] = []
        for _ in 1..<count { earlier.append(.init(high: try integer(), low: try integer())) }
        return SessionTokens(newest: newest, earlier: earlier)
    }
}
