// SPDX-License-Identifier: Apache-2.0

internal import JWTKit
internal import MartletCore
internal import MartletWire

/// The keys with which tokens are checked, and the secret with which new ones are made.
///
/// JWTKit does the cryptography, and reads JSON Web Keys. Which key may check which token is decided here: the
/// algorithm that a token names only chooses among the keys that are meant for it. So a token can neither make us use a
/// public key as a secret, nor do without a signature.
struct KeyRing: Sendable {
    private struct Key: Sendable {
        /// The key's id; nil for secrets, which have none.
        let id: String?
        let algorithm: any JWTAlgorithm
    }

    /// The keys by the names of their algorithms, those for new tokens first.
    private var keys: [String: [Key]] = [:]
    private var signing: (name: String, algorithm: any JWTAlgorithm)?
    /// The keys of the set that we cannot use (RFC 7517, section 5), and why.
    private(set) var skipped: [String] = []

    /// Makes an empty ring, with which every token is refused.
    init() {}

    /// Reads secrets and keys; throws if the key set cannot be used.
    ///
    /// This is asynchronous only because JWTKit keeps keys in an actor; checking and signing are not.
    init(_ secrets: BirthContract.Secrets) async throws {
        for secret in [secrets.hmac, secrets.previousHMAC] where !secret.isEmpty {
            // RFC 7518, 3.2: a secret has at least as many bits as the hash.
            let sizes: [(String, DigestAlgorithm, Int)] = [
                ("HS256", .sha256, 32), ("HS384", .sha384, 48), ("HS512", .sha512, 64),
            ]
            for (name, digest, least) in sizes where secret.count >= least {
                let algorithm = try await JWTKeyCollection().add(hmac: .init(from: secret), digestAlgorithm: digest)
                    .getKey()
                keys[name, default: []].append(Key(id: nil, algorithm: algorithm))
            }
        }
        signing = secrets.hmac.isEmpty ? nil : keys["HS256"]?.first.map { ("HS256", $0.algorithm) }
        if let jwks = secrets.jwks { try await add(jwks) }
    }

    private mutating func add(_ jwks: String) async throws {
        guard let set = try? JSONValue(Array(jwks.utf8)), set["keys"] != nil else {
            throw KeyProblem.notAKeySet
        }
        for (index, description) in (set["keys"]?.array ?? []).enumerated() {
            let name = description["kid"]?.string
            // Keys for encryption are of no use here.
            if description["use"]?.string == "enc" { continue }
            do {
                try await add(description, id: name)
            } catch {
                skipped.append("key \(name ?? "number \(index + 1)"): \(error)")
            }
        }
        if keys.isEmpty { throw KeyProblem.noneUsable(skipped) }
    }

    private mutating func add(_ description: JSONValue, id: String?) async throws {
        var json = JSONWriter()
        json.beginObject()
        for member in description.members where member.key != "kid" {
            if let text = member.value.string { json.member(member.key, text) }
        }
        json.member("kid", "key")
        json.endObject()
        let set = "{\"keys\":[\(String(decoding: json.bytes, as: UTF8.self))]}"
        let names = Self.algorithms(of: description)
        if names.isEmpty { throw KeyProblem.unknownType }
        for name in names {
            let algorithm = try await JWTKeyCollection().add(jwksJSON: set).getKey(for: "key", alg: name)
            keys[name, default: []].append(Key(id: id, algorithm: algorithm))
        }
    }

    /// Returns the algorithms for which a key may be used (RFC 7518, 3.1; RFC 8037, 3.1).
    private static func algorithms(of key: JSONValue) -> [String] {
        if let name = key["alg"]?.string { return name.hasPrefix("HS") ? [] : [name] }
        switch (key["kty"]?.string, key["crv"]?.string) {
        case ("RSA", _): return ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
        case ("EC", "P-256"): return ["ES256"]
        case ("EC", "P-384"): return ["ES384"]
        case ("EC", "P-521"): return ["ES512"]
        case ("OKP", _): return ["EdDSA"]
        default: return []
        }
    }

    // MARK: Using

    var isEmpty: Bool { keys.isEmpty }

    /// Throws unless the token was signed with one of our keys that is meant for such tokens.
    func check(_ token: TokenText) throws(TokenProblem) {
        guard let candidates = keys[token.algorithm] else { throw .algorithm }
        let chosen: [Key]
        if candidates.contains(where: { $0.id == nil }), token.algorithm.hasPrefix("HS") {
            chosen = candidates
        } else if let id = token.keyID {
            let named = candidates.filter { $0.id?.isExactly(id) == true }
            // A single key without an id is meant for all tokens of its algorithm.
            let isLone = candidates.count == 1 && candidates[0].id == nil
            chosen = named.isEmpty && isLone ? candidates : named
        } else {
            // Without a key id it is not known which key is meant; trying all would make bad tokens expensive.
            chosen = candidates.count == 1 ? candidates : []
        }
        guard !chosen.isEmpty else { throw .unknownKey }
        for key in chosen where (try? key.algorithm.verify(token.signature, signs: token.signed)) == true { return }
        throw .signature
    }

    /// Makes a new token; nil if there is no secret to sign with.
    func sign(_ claims: TokenClaims) -> String? {
        guard let signing else { return nil }
        let unsigned = TokenText.unsigned(algorithm: signing.name, claims: claims)
        return (try? signing.algorithm.sign(unsigned)).map { TokenText.signed(unsigned, signature: $0) }
    }
}
