internal import ArgumentParser
internal import MartletCore

/// Loads a server and measures it.
///
/// Its client is built on SwiftNIO, apart from everything the server is made of, so that the two read the RFC
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
