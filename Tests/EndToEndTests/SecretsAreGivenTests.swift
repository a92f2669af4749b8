// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Without secrets nobody could prove their identity: the start is refused, with a sentence that says what to do.
@Suite(.serialized) struct SecretsAreGivenTests {
    @Test(arguments: [
        ("short", "secret", "has 11 bytes; a secret needs 32 or more"),
        ("{\"keys\":[]}", "jwks", "there is no key in it"),
        ("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\"}]}", "jwks", "it has no key that can be used"),
        ("not json", "jwks", "is not a JSON Web Key Set"),
    ])
    func `keys that cannot be used stop the start with a sentence`(text: String, kind: String, why: String) async throws
    {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try (kind == "secret" ? "hello world" : text).write(toFile: path, atomically: true, encoding: .utf8)
        let variable = kind == "secret" ? "MARTLET_AUTH_HMAC_SECRET_FILE" : "MARTLET_AUTH_JWKS_FILE"
        let server = try Subprocess(
            TestServer.binaries + "/martletd",
            [
                "--client-listen", "127.0.0.1:0", "--api-listen", "unix:\(path).sock", "--control-socket",
                path + ".control", "--workers", "1",
            ],
            environment: [variable: path]
        )
        #expect(try await server.waitForEnd() == 78)
        // What it said comes through a pipe of its own.
        try await server.lines.wait(why) { lines in lines.contains { $0.text.contains(why) } }
    }

    @Test func `without a secret, or with an open API, nothing is anonymous: the start is refused`() async throws {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try IdentityIsProvenTests.secret.write(toFile: path, atomically: true, encoding: .utf8)
        for (arguments, environment, key) in [
            ([], [:], "auth.hmac_secret_file: is not set"),
            (
                ["--api-listen", "127.0.0.1:0"], ["MARTLET_AUTH_HMAC_SECRET_FILE": path],
                "auth.api_keys_file: is not set"
            ),
        ] {
            let server = try Subprocess(
                TestServer.binaries + "/martletd",
                ["--client-listen", "127.0.0.1:0", "--control-socket", path + ".control"] + arguments,
                environment: environment
            )
            #expect(try await server.waitForEnd() == 78)
            try await server.lines.wait(key) { lines in lines.contains { $0.text.contains(key) } }
        }
    }

    @Test func `secrets come from systemd's credentials too`() async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/martlet-cred-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try IdentityIsProvenTests.secret.write(toFile: folder + "/hmac_secret", atomically: true, encoding: .utf8)
        try IdentityIsProvenTests.apiKey.write(toFile: folder + "/api_keys", atomically: true, encoding: .utf8)
        try await TestServer.with(isDevelopment: false, environment: ["CREDENTIALS_DIRECTORY": folder]) { server in
            let (good, bad) = (
                try await server.request("GET", "/v1/stats", IdentityIsProvenTests.key),
                try await server.request("GET", "/v1/stats")
            )
            #expect(good.status == 200 && bad.status == 401)
            #expect(try await server.control(["token", "--user", "u"]).code == 0)
        }
    }
}
