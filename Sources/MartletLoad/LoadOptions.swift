// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import Foundation
internal import MartletCore

/// The options of every measurement.
struct LoadOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where clients connect.", valueName: "host:port"))
    var client = "127.0.0.1:8000"

    @Option(help: ArgumentHelp("Where messages are published.", valueName: "host:port"))
    var api = "127.0.0.1:8001"

    @Option(help: "Path and query of the WebSocket; {user} is replaced by the user's name.")
    var path = "/ws?user={user}"

    @Option(
        help: ArgumentHelp(
            "The server's process (its children count too); found automatically for Martlet.",
            valueName: "pid"
        )
    )
    var serverPid: Int?

    @Option(
        help: ArgumentHelp(
            "The server's secret (auth.hmac_secret_file): each user gets a token that is signed with it.",
            valueName: "path"
        )
    )
    var secretFile: String?

    @Option(
        help: ArgumentHelp(
            "Prints a user's token; it is run with sh, and {user} is replaced by the user's name.",
            valueName: "command"
        )
    )
    var tokenCommand: String?

    @Option(help: ArgumentHelp("A file with the key that backends show (auth.api_keys_file).", valueName: "path"))
    var apiKeyFile: String?

    @Flag(help: "Clients ask for sessions, and confirm every 32 messages.")
    var sessions = false

    @Flag(help: "Print JSON, for scripts.")
    var json = false

    @Option(help: "Seconds after which the run is given up.")
    var limit = 120

    func validate() throws {
        if secretFile != nil, tokenCommand != nil {
            throw ValidationError("Give either --secret-file or --token-command, not both.")
        }
    }

    var hasTokens: Bool { secretFile != nil || tokenCommand != nil }

    /// Returns the address and the key of the API.
    func apiAddress() throws -> API {
        let (host, port) = try Measurement.split(api)
        let lines = try apiKeyFile.map(Self.text)?.split(separator: "\n").map {
            $0.trimmingCharacters(in: .whitespaces)
        }
        return API(host: host, port: port, key: lines?.first { !$0.isEmpty && !$0.hasPrefix("#") })
    }

    /// Returns tokens for users, which allow them these threads.
    func tokens(for users: [String], threads: [String]) throws -> Tokens {
        if let secretFile {
            // The server ignores white space at the end of the file, too.
            var secret = Array(try Data(contentsOf: URL(fileURLWithPath: secretFile)))
            while let last = secret.last, [0x20, 0x09, 0x0A, 0x0D].contains(last) { secret.removeLast() }
            return Tokens(.secret(secret), threads: threads)
        }
        if let tokenCommand {
            return Tokens(.printed(try Tokens.printed(by: tokenCommand, for: users)), threads: threads)
        }
        return Tokens(.none, threads: threads)
    }

    private static func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }
}
