// SPDX-License-Identifier: Apache-2.0

/// Why a token is refused: each problem has a stable code for programs, and a sentence for people.
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
        case .malformed: "the token is not a JWT in compact form"
        case .tooLarge: "the token is larger than 8192 bytes"
        case .algorithm: "the token's algorithm is not one that this server has a key for"
        case .unknownKey: "no key of this server has the token's key id (kid)"
        case .signature: "the token's signature is wrong"
        case .expired: "the token has expired: get a new one"
        case .notYetValid: "the token is not valid yet (nbf)"
        case .noExpiry: "the token has no expiry (exp)"
        case .issuer: "the token's issuer (iss) is not the one that this server accepts"
        case .audience: "the token is for another audience (aud)"
        case .subject: "the token's subject (sub) must be a user id of 1 to 256 bytes"
        case .claims: "a claim of the token has the wrong type or is too long"
        }
    }
}
