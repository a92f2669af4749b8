// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import Foundation
internal import MartletCore

/// Loads a server and measures it.
///
/// Its client is built on SwiftNIO, and shares no code with the server's WebSocket, so that the two interpret the RFC
/// independently.
@main
struct MartletLoad: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet-load",
        abstract: "Measures a WebSocket push server: rates, latencies, losses, and what it costs the server.",
        version: Martlet.version,
        subcommands: [Connect.self, Fanout.self, Unicast.self, Echo.self, Continuity.self]
    )

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            guard exitCode(for: error) == .success else { exit(withError: error) }
            do {
                // Help that could not be written was not given.
                try FileHandle.standardOutput.write(contentsOf: Data((fullMessage(for: error) + "\n").utf8))
            } catch {
                FileHandle.standardError.write(Data("martlet-load: cannot write: \(error.localizedDescription)\n".utf8))
                exit(withError: ExitCode.failure)
            }
        }
    }
}
