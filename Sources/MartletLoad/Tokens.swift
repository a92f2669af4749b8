// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// The JWTs that clients show, one for each user.
struct Tokens: Sendable {
    enum Source {
        /// A server in development mode asks for none.
        case none
        /// Each is made when it is needed, with this secret (HS256).
        case secret([UInt8])
        /// Those that a command has printed.
        case printed([String: String])
    }

    private static let lifetime = 3600

    private let source: Source
    /// The threads that each token allows, if they are made here.
    private let threads: [String]

    init(_ source: Source, threads: [String]) {
        self.source = source
        self.threads = threads
    }

    /// Returns a user's token, or nil if there are none.
    func token(for user: String) -> String? {
        switch source {
        case .none: nil
        case .secret(let secret): sign(claims(of: user), secret)
        case .printed(let tokens): tokens[user]
        }
    }

    /// Returns the line of a request's head that shows a user's token; it is empty if there are none.
    func field(for user: String) -> String { token(for: user).map { "Authorization: Bearer \($0)\r\n" } ?? "" }

    private func claims(of user: String) -> String {
        let list = threads.map { "\"\($0)\"" }.joined(separator: ",")
        let expiry = Int(Date().timeIntervalSince1970) + Self.lifetime
        return "{\"sub\":\"\(user)\",\"exp\":\(expiry),\"threads\":[\(list)]}"
    }

    /// Makes a token in the compact form (RFC 7515, 7.1).
    private func sign(_ claims: String, _ secret: [UInt8]) -> String {
        let signed = Self.base64(#"{"alg":"HS256","typ":"JWT"}"#.utf8) + "." + Self.base64(claims.utf8)
        return signed + "." + Self.base64(SHA256.authenticate(signed.utf8, key: secret))
    }

    private static func base64(_ bytes: some Sequence<UInt8>) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }
}

extension Tokens {
    /// How many commands run at the same time.
    private static let together = 4

    /// Runs a command with sh for each user, in which `{user}` is the user's name, and keeps what each prints.
    static func printed(by command: String, for users: [String]) throws -> [String: String] {
        var tokens: [String: String] = [:]
        for start in stride(from: 0, to: users.count, by: together) {
            let some = users[start..<min(start + together, users.count)]
            let running = try some.map { user in (user, try Running(command.replacing("{user}", with: user))) }
            for (user, process) in running { tokens[user] = try process.token() }
        }
        return tokens
    }

    /// A command that will have printed a token when it ends.
    private struct Running {
        private let process = Process()
        private let output = Pipe()
        private let command: String

        init(_ command: String) throws {
            self.command = command
            process.executableURL = URL(fileURLWithPath: "/bin/sh")
            process.arguments = ["-c", command]
            process.standardOutput = output
            try process.run()
        }

        func token() throws -> String {
            let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
            guard process.terminationStatus == 0, !token.isEmpty, !token.contains(where: \.isWhitespace) else {
                throw Measurement.Failed(
                    description: "--token-command printed no token (exit code \(process.terminationStatus)): \(command)"
                )
            }
            return token
        }
    }
}
