// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

@Suite struct TokenPolicyTests {
    private let policy = TokenPolicy(issuer: "me", audience: "martlet", leeway: 10)

    private var good: TokenClaims {
        var claims = TokenClaims()
        claims.subject = "用户1"
        claims.issuer = "me"
        claims.audiences = ["other", "martlet"]
        claims.expiresAt = 1000
        claims.threads = ["t"]
        return claims
    }

    private func problem(at now: Double = 500, _ change: (inout TokenClaims) -> Void = { _ in }) -> TokenProblem? {
        var claims = good
        change(&claims)
        do throws(TokenProblem) {
            try policy.check(claims, now: now)
            return nil
        } catch {
            return error
        }
    }

    @Test func `a good token is valid until its expiry and a little longer`() {
        #expect(problem() == nil)
        #expect(problem(at: 1009) == nil)
        #expect(problem(at: 1010) == .expired)
    }

    @Test func `the problem with a token is named`() {
        #expect(problem { $0.expiresAt = nil } == .noExpiry)
        #expect(problem { $0.notBefore = 511 } == .notYetValid)
        #expect(problem { $0.notBefore = 510 } == nil)
        #expect(problem { $0.issuer = nil } == .issuer)
        #expect(problem { $0.issuer = "you" } == .issuer)
        #expect(problem { $0.audiences = [] } == .audience)
        #expect(problem { $0.subject = nil } == .subject)
        #expect(problem { $0.subject = "" } == .subject)
        #expect(problem { $0.subject = String(repeating: "x", count: 257) } == .subject)
        #expect(problem { $0.threads = [""] } == .claims)
        #expect(problem { $0.jobs = (0..<65).map { "\($0)" } } == .claims)
        #expect(problem { $0.metadata = String(repeating: "x", count: 4097) } == .claims)
    }

    @Test func `without an issuer and an audience configured, any will do`() throws {
        var claims = good
        claims.issuer = nil
        claims.audiences = []
        try TokenPolicy(issuer: nil, audience: nil, leeway: 0).check(claims, now: 0)
    }
}

@Suite struct TokenTextIsExactTests {
    @Test func `an issuer and an audience are compared byte for byte`() throws {
        var claims = TokenClaims()
        claims.subject = "u"
        claims.expiresAt = 100
        // Both look the same: é as one character, and as two.
        (claims.issuer, claims.audiences) = ("caf\u{E9}", ["caf\u{E9}"])
        try TokenPolicy(issuer: "caf\u{E9}", audience: "caf\u{E9}", leeway: 0).check(claims, now: 0)
        #expect(throws: TokenProblem.issuer) {
            try TokenPolicy(issuer: "cafe\u{301}", audience: nil, leeway: 0).check(claims, now: 0)
        }
        #expect(throws: TokenProblem.audience) {
            try TokenPolicy(issuer: nil, audience: "cafe\u{301}", leeway: 0).check(claims, now: 0)
        }
    }
}

@Suite struct OriginPolicyTests {
    @Test(
        arguments: [
            ([], nil, "h", true), ([], "https://h", "h", true), ([], "https://h:8443", "h:8443", true),
            ([], "https://evil", "h", false), ([], "null", "h", false), ([], "https://h.evil", "h", false),
            (["*"], "https://any", "h", true), (["https://a.com"], "https://a.com", "h", true),
            (["https://a.com"], "https://A.COM", "h", true), (["https://a.com"], "http://a.com", "h", false),
            (["https://a.com"], "https://a.com.evil.com", "h", false), (["https://a.com"], nil, "h", true),
            (["https://*.a.com"], "https://x.a.com", "h", true), (["https://*.a.com"], "https://x.y.a.com", "h", true),
            (["https://*.a.com"], "https://a.com", "h", false), (["https://*.a.com"], "https://evila.com", "h", false),
            (["https://*.a.com"], "https://x.com/.a.com", "h", false),
            (["https://*.a.com"], "https://.a.com", "h", false),
            (["https://*.a.com"], "https://evil.com?.a.com", "h", false),
            (["https://*.a.com:8443"], "https://x.a.com:8443", "h", true),
            (["https://*.a.com:8443"], "https://x.a.com", "h", false),
            // It is one origin, however its port and its end are written.
            ([], "https://h", "h:443", true), ([], "http://h", "h:80", true), ([], "http://h:80", "h", true),
            ([], "https://h", "h:80", false), ([], "https://h/", "h", true), ([], "HTTPS://H:443/", "h", true),
            ([], "https://[::1]", "[::1]:443", true), ([], "https://[::1]:1", "[::1]", false),
            (["https://a.com:443"], "https://a.com", "h", true), (["https://a.com"], "https://a.com/", "h", true),
            (["https://*.a.com"], "https://x.a.com:443", "h", true), (["https://a.com"], "https://a.com/x", "h", false),
            (["https://a.com"], "https://a.com//", "h", false), ([], "https://h@evil", "h", false),
            // Apps have their own origins, which only their exact names allow.
            (["capacitor://localhost"], "capacitor://localhost", "h", true),
            (["tauri://localhost"], "capacitor://localhost", "h", false),
            (["chrome-extension://abcdef"], "chrome-extension://abcdef", "h", true),
            (["null"], "null", "h", true), (["file://"], "file://", "h", true), (["null"], "https://null", "h", false),
            ([], "capacitor://h", "h", false), ([], "null", "null", false), ([], "file://", "", false),
        ] as [([String], String?, String, Bool)]
    )
    func `a page may connect if its origin is allowed`(
        allowed: [String],
        origin: String?,
        host: String,
        expected: Bool
    ) {
        #expect(OriginPolicy(allowed: allowed).allows(origin, host: host) == expected)
    }

    @Test func `a pattern that cannot work is named`() {
        for good in [
            "*", "https://a.com", "http://localhost:3000", "https://*.a.com", "capacitor://localhost", "null",
            "file://",
            "chrome-extension://abc", "https://[::1]:8443",
        ] {
            #expect(OriginPolicy.problem(good) == nil)
        }
        for bad in [
            "a.com", "https://a.com/", "https://a*.com", "https://*.*.com", "", "https://a.com/path", "https://",
            "://a",
            "https://u@a.com", "1x://a",
        ] {
            #expect(OriginPolicy.problem(bad) != nil)
        }
    }
}
