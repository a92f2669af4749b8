// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// A JSON Web Token in compact form (RFC 7515, 7.1; RFC 7519), split into its parts and not verified yet.
package struct TokenText: Sendable {
    /// The longest token: a longer one is refused before anything is decoded.
    package static let longest = 8192

    package let algorithm: String
    package let keyID: String?
    /// The bytes that were signed: the first two parts and the dot between them.
    package let signed: [UInt8]
    package let signature: [UInt8]
    private let payload: [UInt8]

    package init(_ text: String) throws(TokenProblem) {
        guard text.utf8.count <= Self.longest else { throw .tooLarge }
        let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let head = Base64URL.decode(parts[0]), let payload = Base64URL.decode(parts[1]),
            let signature = Base64URL.decode(parts[2])
        else { throw .malformed }
        guard let header = try? JSONValue(head), case .object = header, let algorithm = header["alg"]?.string else {
            throw .malformed
        }
        // We know no extensions that must be understood (RFC 7515, 4.1.11).
        guard header["crit"] == nil else { throw .malformed }
        self.algorithm = algorithm
        keyID = header["kid"]?.string
        signed = Array(parts[0]) + [UInt8(ascii: ".")] + Array(parts[1])
        self.signature = signature
        self.payload = payload
    }

    /// Reads what the token says; call this only after its signature was checked.
    package func claims() throws(TokenProblem) -> TokenClaims {
        guard let value = try? JSONValue(payload), case .object = value else { throw .malformed }
        var claims = TokenClaims()
        claims.subject = try Self.text("sub", value)
        claims.issuer = try Self.text("iss", value)
        claims.expiresAt = try Self.time("exp", value)
        claims.notBefore = try Self.time("nbf", value)
        switch value["aud"] {
        case nil, .null?: break
        case .string(let audience)?: claims.audiences = [audience]
        case .array?: claims.audiences = try Self.texts("aud", value) ?? []
        default: throw .claims
        }
        claims.threads = try Self.texts("threads", value)
        claims.jobs = try Self.texts("jobs", value)
        if let metadata = value["metadata"], metadata != .null {
            guard case .object = metadata, let slice = JSONMembers.slice(of: "metadata", in: payload.span) else {
                throw .claims
            }
            claims.metadata = String(decoding: payload[slice], as: UTF8.self)
        }
        return claims
    }

    private static func text(_ name: String, _ value: JSONValue) throws(TokenProblem) -> String? {
        switch value[name] {
        case nil, .null?: return nil
        case .string(let text)?: return text
        default: throw name == "sub" ? .subject : .claims
        }
    }

    private static func time(_ name: String, _ value: JSONValue) throws(TokenProblem) -> Double? {
        switch value[name] {
        case nil, .null?: return nil
        case .number(let number)? where number.isFinite: return number
        default: throw .claims
        }
    }

    private static func texts(_ name: String, _ value: JSONValue) throws(TokenProblem) -> [String]? {
        switch value[name] {
        case nil, .null?: return nil
        case .array(let values)?:
            var texts: [String] = []
            for value in values {
                guard let text = value.string else { throw .claims }
                texts.append(text)
            }
            return texts
        default: throw .claims
        }
    }

    // MARK: Making

    /// Makes the part of a new token that is signed.
    package static func unsigned(algorithm: String, claims: TokenClaims) -> [UInt8] {
        var header = JSONWriter()
        header.beginObject()
        header.member("alg", algorithm)
        header.member("typ", "JWT")
        header.endObject()
        var payload = JSONWriter()
        payload.beginObject()
        if let subject = claims.subject { payload.member("sub", subject) }
        if let issuer = claims.issuer { payload.member("iss", issuer) }
        if let audience = claims.audiences.first { payload.member("aud", audience) }
        if let expiry = claims.expiresAt { payload.member("exp", Int(min(max(expiry, 0), 9e12))) }
        for (name, rooms) in [("threads", claims.threads), ("jobs", claims.jobs)] {
            guard let rooms, !rooms.isEmpty else { continue }
            payload.key(name)
            payload.beginArray()
            for room in rooms { payload.value(room) }
            payload.endArray()
        }
        payload.endObject()
        return Array((Base64URL.encode(header.bytes) + "." + Base64URL.encode(payload.bytes)).utf8)
    }

    /// Makes a whole token.
    package static func signed(_ unsigned: [UInt8], signature: [UInt8]) -> String {
        String(decoding: unsigned, as: UTF8.self) + "." + Base64URL.encode(signature)
    }
}
