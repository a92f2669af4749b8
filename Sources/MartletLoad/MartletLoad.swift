// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
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
}
