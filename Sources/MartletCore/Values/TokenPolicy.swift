// SPDX-License-Identifier: Apache-2.0

/// What a token must say besides being signed.
package struct TokenPolicy: Equatable, Sendable {
    package var issuer: String?
    package var audience: String?
    /// By how many seconds clocks may differ.
    package var leeway: Double

    /// The most rooms that a list in a token may have; a token has at most 8 KiB anyway.
    package static let mostRooms = 64
    package static let longestMetadata = 4096

    package init(issuer: String?, audience: String?, leeway: Double) {
        self.issuer = issuer
        self.audience = audience
        self.leeway = leeway
    }

    /// Checks claims, and throws the first problem.
    ///
    /// `now` is in Unix seconds.
    package func check(_ claims: TokenClaims, now: Double) throws(TokenProblem) {
        guard let expiry = claims.expiresAt else { throw .noExpiry }
        guard now < expiry + leeway else { throw .expired }
        if let notBefore = claims.notBefore, now < notBefore - leeway { throw .notYetValid }
        if let issuer, claims.issuer?.isExactly(issuer) != true { throw .issuer }
        if let audience, !claims.audiences.contains(where: { $0.isExactly(audience) }) { throw .audience }
        guard let subject = claims.subject, (1...256).contains(subject.utf8.count) else { throw .subject }
        for room in (claims.threads ?? []) + (claims.jobs ?? []) where !(1...256).contains(room.utf8.count) {
            throw .claims
        }
        guard (claims.threads ?? []).count + (claims.jobs ?? []).count <= Self.mostRooms else { throw .claims }
        guard claims.metadata?.utf8.count ?? 0 <= Self.longestMetadata else { throw .claims }
    }
}
