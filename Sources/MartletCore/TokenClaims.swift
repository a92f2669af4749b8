/// What a token says of its bearer (RFC 7519, section 4), as far as Martlet reads it.
package struct TokenClaims: Equatable, Sendable {
    package var subject: String?
    package var issuer: String?
    package var audiences: [String] = []
    /// Unix seconds.
    package var expiresAt: Double?
    package var notBefore: Double?
    /// Rooms that the bearer is in, and may join again after leaving; nil: none are named.
    package var threads: [String]?
    package var jobs: [String]?
    /// The text of a JSON object.
    package var metadata: String?

    package init() {}
}

/// Why a token is refused: a stable code for programs, and a sentence for people.
package enum TokenProblem: String, Error, CaseIterable, Sendable {
    case missing = "token_missing"
    case malformed = "token_malformed"
    case tooLarge = "token_too_large"
    case algorithm = "token_algorithm"
    case unknownKey = "token_unknown_key"
    case signature = "token_signature"
    case expired = "token_expired"
    case notYetValid = "token_not_yet_valid"
    case noExpiry = "token_without_expiry"
    case issuer = "token_issuer"
    case audience = "token_audience"
    case subject = "token_subject"
    case claims = "token_claims"

    package var code: String { rawValue }

    package var detail: String {
        switch self {
        case .missing: "send a token: Authorization: Bearer, or the subprotocol bearer.TOKEN beside martlet"
        case .malformed: "the token is no JWT in compact form"
        case .tooLarge: "the token is larger than 8192 bytes"
        case .algorithm: "the token's algorithm is not one that this server has a key for"
        case .unknownKey: "no key of this server has the token's key id (kid)"
        case .signature: "the token's signature is wrong"
        case .expired: "the token has expired: get a new one"
        case .notYetValid: "the token is not valid yet (nbf)"
        case .noExpiry: "the token has no expiry (exp)"
        case .issuer: "the token has another issuer (iss) than this server accepts"
        case .audience: "the token is for another audience (aud)"
        case .subject: "the token's subject (sub) must be a user id of 1 to 256 bytes"
        case .claims: "a claim of the token has a wrong type or is too long"
        }
    }
}

/// What a token must say besides being signed.
package struct TokenPolicy: Equatable, Sendable {
    package var issuer: String?
    package var audience: String?
    /// Seconds that clocks may differ by.
    package var leeway: Double

    /// Lists in a token are never longer; a token is at most 8 KiB anyway.
    package static let mostRooms = 64
    package static let longestMetadata = 4096

    package init(issuer: String?, audience: String?, leeway: Double) {
        self.issuer = issuer
        self.audience = audience
        self.leeway = leeway
    }

    /// Throws the first thing that is wrong.
    ///
    /// `now`: Unix seconds.
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
