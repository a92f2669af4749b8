// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire
import Testing

@Suite struct TokenTextTests {
    private func token(_ header: String, _ payload: String) -> String {
        "\(Base64URL.encode(Array(header.utf8))).\(Base64URL.encode(Array(payload.utf8))).c2ln"
    }

    private func claims(_ payload: String) throws(TokenProblem) -> TokenClaims {
        try TokenText(token("{\"alg\":\"HS256\"}", payload)).claims()
    }

    @Test func `a token is split into its parts`() throws {
        let text = token("{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"k1\"}", "{}")
        let parts = try TokenText(text)
        #expect(parts.algorithm == "ES256" && parts.keyID == "k1")
        #expect(parts.signature == Array("sig".utf8))
        #expect(String(decoding: parts.signed, as: UTF8.self) == text.dropLast(5))
    }

    @Test func `its claims are read`() throws {
        let claims = try claims(
            """
            {"sub":"\\u7528\\u62371","iss":"i","aud":["a","b"],"exp":1.5e9,"nbf":7,"threads":["t"],"jobs":[],
             "metadata":{"plan" : "pro"}, "other": 1}
            """
        )
        #expect(claims.subject == "用户1" && claims.issuer == "i" && claims.audiences == ["a", "b"])
        #expect(claims.expiresAt == 1.5e9 && claims.notBefore == 7)
        #expect(claims.threads == ["t"] && claims.jobs == [] && claims.metadata == "{\"plan\" : \"pro\"}")
        #expect(try self.claims("{\"aud\":\"one\"}").audiences == ["one"])
    }

    @Test(arguments: [
        ("{\"sub\":5}", TokenProblem.subject), ("{\"exp\":\"soon\"}", .claims), ("{\"aud\":5}", .claims),
        ("{\"threads\":\"t\"}", .claims), ("{\"threads\":[1]}", .claims), ("{\"metadata\":[]}", .claims),
        ("[]", .malformed), ("{\"sub\":", .malformed),
    ])
    func `claims of a wrong type are refused`(payload: String, problem: TokenProblem) {
        #expect(throws: problem) { try claims(payload) }
    }

    @Test(arguments: [
        "", "a", "a.b", "a.b.c.d", "!!!.e30.c2ln", "e30.e30.c2ln=", "e30.e30.c2ln", "W10.e30.c2ln", "e30.e30.c2lu ",
        "eyJhbGciOiJIUzI1NiJ9.e30.c2l", "eyJhbGciOjF9.e30.c2ln",
    ])
    func `text that is not a token is refused`(text: String) {
        #expect(throws: TokenProblem.malformed) { try TokenText(text) }
    }

    @Test func `a token with extensions that must be understood, or too large, is refused`() {
        #expect(throws: TokenProblem.malformed) { try TokenText(token("{\"alg\":\"HS256\",\"crit\":[\"x\"]}", "{}")) }
        let large = token("{\"alg\":\"HS256\"}", "{\"x\":\"\(String(repeating: "x", count: 8192))\"}")
        #expect(throws: TokenProblem.tooLarge) { try TokenText(large) }
    }

    @Test func `a token that we made can be read back`() throws {
        var claims = TokenClaims()
        claims.subject = "a \"b\" 用"
        claims.issuer = "i"
        claims.audiences = ["x"]
        claims.expiresAt = 99
        claims.threads = ["t"]
        let unsigned = TokenText.unsigned(algorithm: "HS256", claims: claims)
        #expect(try TokenText(TokenText.signed(unsigned, signature: [1, 2, 3])).claims() == claims)
    }

    @Test func `base 64 for URLs is read back, and has one text for each sequence of bytes`() {
        for count in 0..<100 {
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255) }
            #expect(Base64URL.decode(Base64URL.encode(bytes).utf8) == bytes)
        }
        #expect(Base64URL.decode("QQ".utf8) == [0x41])
        for bad in ["QR", "Q", "QQ==", "Q+", "Q/", "Q\n"] { #expect(Base64URL.decode(bad.utf8) == nil) }
    }
}
