// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire
import Testing

@testable import MartletWorker

/// Which key may check which token.
@Suite struct KeyRingTests {
    private func secrets(_ hmac: Int = 48, previous: [UInt8] = [], jwks: String? = nil) -> BirthContract.Secrets {
        var secrets = BirthContract.Secrets()
        secrets.hmac = Array(repeating: 7, count: hmac)
        secrets.previousHMAC = previous
        secrets.jwks = jwks
        return secrets
    }

    private var claims: TokenClaims {
        var claims = TokenClaims()
        claims.subject = "u"
        return claims
    }

    private func problem(_ ring: KeyRing, _ token: String) -> TokenProblem? {
        do throws(TokenProblem) {
            try ring.check(TokenText(token))
            return nil
        } catch {
            return error
        }
    }

    @Test func `a token that was signed here is good, and no longer when a part of it is another's`() async throws {
        let ring = try await KeyRing(secrets())
        let token = try #require(ring.sign(claims))
        #expect(problem(ring, token) == nil)
        let parts = token.split(separator: ".").map(String.init)
        var other = claims
        other.subject = "root"
        let forged = try #require(ring.sign(other)).split(separator: ".").map(String.init)
        #expect(problem(ring, "\(parts[0]).\(forged[1]).\(parts[2])") == .signature)
        #expect(problem(ring, "\(parts[0]).\(parts[1]).\(forged[2])") == .signature)
        #expect(problem(try await KeyRing(secrets(49)), token) == .signature)
        #expect(problem(KeyRing(), token) == .algorithm)
    }

    @Test func `no algorithm is taken that no key is meant for, whatever the token names`() async throws {
        let ring = try await KeyRing(secrets(40))
        let payload = try #require(ring.sign(claims)).split(separator: ".")[1]
        for name in ["none", "None", "HS384", "HS512", "RS256", "hs256", ""] {
            let head = Base64URL.encode(Array("{\"alg\":\"\(name)\"}".utf8))
            let found = problem(ring, "\(head).\(payload).\(Base64URL.encode([1, 2, 3]))")
            #expect(found == .algorithm || found == .malformed, "\(name): \(String(describing: found))")
        }
    }

    @Test(arguments: [(31, []), (32, ["HS256"]), (48, ["HS256", "HS384"]), (64, ["HS256", "HS384", "HS512"])])
    func `a secret is used for as many bits as it has`(length: Int, names: [String]) async throws {
        let ring = try await KeyRing(secrets(length))
        #expect((ring.sign(claims) != nil) == (length >= 32))
        for name in ["HS256", "HS384", "HS512"] {
            let unsigned = TokenText.unsigned(algorithm: name, claims: claims)
            let found = problem(ring, TokenText.signed(unsigned, signature: [1, 2, 3]))
            #expect(found == (names.contains(name) ? .signature : .algorithm), "\(name)")
        }
    }

    @Test func `the previous secret checks, and does not sign`() async throws {
        let old = try await KeyRing(secrets(48))
        var rotated = secrets(0, previous: secrets(48).hmac)
        rotated.hmac = Array(repeating: 9, count: 48)
        let ring = try await KeyRing(rotated)
        #expect(problem(ring, try #require(old.sign(claims))) == nil)
        #expect(problem(old, try #require(ring.sign(claims))) == .signature)
    }

    @Test(arguments: [
        "", "[]", "{}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "{\"keys\":[{}]}",
    ])
    func `a key set without a key that can be used is an error`(jwks: String) async {
        var secrets = secrets(0, jwks: jwks)
        secrets.hmac = []
        await #expect(throws: KeyProblem.self) { _ = try await KeyRing(secrets) }
    }

    @Test func `a key that cannot be used is named, and the others are used`() async throws {
        let jwks =
            "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"broken\",\"x\":\"AA\",\"y\":\"AA\"},"
            + "{\"kty\":\"RSA\",\"use\":\"enc\",\"kid\":\"for others\"}]}"
        let ring = try await KeyRing(secrets(jwks: jwks))
        #expect(ring.skipped.count == 1 && ring.skipped[0].hasPrefix("key broken: "))
        #expect(problem(ring, try #require(ring.sign(claims))) == nil)
    }
}
