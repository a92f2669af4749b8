// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support

extension TestServer {
    /// Runs a server that is not in development mode, and makes tokens for it.
    static func withTokens(
        workers: Int = 2,
        _ environment: [String: String] = [:],
        _ body: (TestServer) async throws -> Void
    ) async throws {
        try await with(
            workers: workers,
            isDevelopment: false,
            environment: environment,
            prepare: { folder in
                for (name, text) in [("secret", IdentityIsProvenTests.secret), ("keys", IdentityIsProvenTests.apiKey)] {
                    try text.write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8)
                    let owner = [FileAttributeKey.posixPermissions: 0o600]
                    try FileManager.default.setAttributes(owner, ofItemAtPath: "\(folder)/\(name)")
                }
                return [
                    "MARTLET_AUTH_HMAC_SECRET_FILE": folder + "/secret",
                    "MARTLET_AUTH_API_KEYS_FILE": folder + "/keys",
                ]
            },
            body
        )
    }

    /// Makes a token for a user.
    func token(_ user: String, threads: [String] = []) async throws -> String {
        let run = try await control(["token", "--user", user] + threads.flatMap { ["--thread", $0] })
        return run.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
