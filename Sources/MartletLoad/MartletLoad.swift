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

/// What every measurement takes.
struct LoadOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where clients connect.", valueName: "host:port"))
    var client = "127.0.0.1:8000"

    @Option(help: ArgumentHelp("Where messages are published.", valueName: "host:port"))
    var api = "127.0.0.1:8001"

    @Option(help: "Path and query of the WebSocket; {user} becomes the user's name.")
    var path = "/ws?user={user}"

    @Option(
        help: ArgumentHelp(
            "The server's process (its children count too); found by itself for Martlet.",
            valueName: "pid"
        )
    )
    var serverPid: Int?

    @Flag(help: "Print JSON, for scripts.")
    var json = false

    @Option(help: "Seconds until the run is given up.")
    var limit = 120
}

struct Connect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Opens connections and holds them: handshakes a second, CPU and memory for each."
    )

    @OptionGroup var options: LoadOptions

    @Option(name: .shortAndLong, help: "Connections.")
    var connections = 1000

    @Option(help: "Users that they belong to.")
    var users = 1000

    @Option(help: "Handshakes under way at once.")
    var concurrency = 64

    @Option(help: "Seconds to hold the connections.")
    var hold = 0

    func run() throws {
        try Measurement(options).run { try ConnectRun(self, $0).run() }
    }
}

struct Fanout: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Broadcasts numbered messages to all connections and checks that each has each, once, in order."
    )

    @OptionGroup var options: LoadOptions

    @Option(name: .shortAndLong, help: "Connections that receive.")
    var connections = 1000

    @Option(name: .shortAndLong, help: "Messages.")
    var messages = 200

    @Option(name: .shortAndLong, help: "Bytes of a message.")
    var size = 128

    @Option(name: .shortAndLong, help: "Messages on their way at once.")
    var window = 1

    func run() throws {
        try Measurement(options).run { try PublishRun.fanout(self, $0).run() }
    }
}

struct Unicast: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sends numbered messages to one user after the other and checks each."
    )

    @OptionGroup var options: LoadOptions

    @Option(name: .shortAndLong, help: "Connections, each of a user of its own.")
    var connections = 1000

    @Option(name: .shortAndLong, help: "Messages in all.")
    var messages = 20000

    @Option(name: .shortAndLong, help: "Bytes of a message.")
    var size = 128

    @Option(name: .shortAndLong, help: "Messages on their way at once.")
    var window = 32

    func run() throws {
        try Measurement(options).run { try PublishRun.unicast(self, $0).run() }
    }
}

struct Echo: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sends numbered messages over each connection and waits for them to come back (/echo of --dev)."
    )

    @OptionGroup var options: LoadOptions

    @Option(name: .shortAndLong, help: "Connections.")
    var connections = 100

    @Option(name: .shortAndLong, help: "Messages for each connection.")
    var messages = 100

    @Option(name: .shortAndLong, help: "Bytes of a message.")
    var size = 128

    func run() throws {
        try Measurement(options).run { try EchoRun(self, $0).run() }
    }
}
