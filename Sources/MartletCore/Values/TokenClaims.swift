// SPDX-License-Identifier: Apache-2.0

/// What a token says about its bearer (RFC 7519, section 4), as far as Martlet reads it.
package struct TokenClaims: Equatable, Sendable {
    package var subject: String?
    package var issuer: String?
    package var audiences: [String] = []
    /// When the token expires, in Unix seconds.
    package var expiresAt: Double?
    package var notBefore: Double?
    /// Threads that the bearer is in, and may join again after leaving; nil: the token names none.
    package var threads: [String]?
    package var jobs: [String]?
    /// The text of a JSON object.
    package var metadata: String?

    package init() {}
}
