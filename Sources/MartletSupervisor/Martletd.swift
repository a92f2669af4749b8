internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The command line of the supervisor.
///
/// In reading order of this room: Martletd (what was asked for), ConfigurationReading (and configured), Listeners
/// (which sockets), Supervisor (one turn), WorkerProcess (one shard's worker), Switchboard (words between them),
/// ControlServer (what operators ask).
@main
struct Martletd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martletd",
        abstract: "Self-hosted WebSocket push server.",
        discussion: """
            Backends POST messages to the HTTP API; browsers that are connected as the addressed user receive them.
            One worker process per CPU serves a share of the users each; this process starts, watches and connects them.
            """,
        version: Martlet.version
    )

    @Option(help: ArgumentHelp("Configuration file (YAML).", valueName: "file"))
    var config: String?

    @Flag(help: "Development: loopback only, users by ?user=NAME, no API key, a demo page on /.")
    var dev = false

    @Option(help: "Worker processes; 'auto' is one per CPU.")
    var workers: String?

    @Option(help: ArgumentHelp("Where browsers connect.", valueName: "addr:port"))
    var clientListen: String?

    @Option(help: ArgumentHelp("Where backends publish: addr:port or unix:PATH.", valueName: "address"))
    var apiListen: String?

    @Option(help: ArgumentHelp("Where martletctl connects.", valueName: "path"))
    var controlSocket: String?

    func run() throws {
        do {
            let configuration = try readConfiguration()
            try Supervisor.run(configuration)
        } catch let error as ConfigurationError {
            CurrentProcess.printError("martletd: \(error)")
            throw ExitCode(1)
        } catch let error as SystemCallError {
            CurrentProcess.printError("martletd: \(error)")
            throw ExitCode(1)
        }
    }

    private func readConfiguration() throws(ConfigurationError) -> Configuration {
        var flags: [String: String] = [:]
        flags["workers"] = workers
        flags["client.listen"] = clientListen
        flags["api.listen"] = apiListen
        flags["control_socket"] = controlSocket
        var configuration = dev ? Configuration.development : Configuration()
        if dev { configuration.controlSocket = Self.developmentControlSocket.socket }
        try ConfigurationReading.apply(file: config, flags: flags, to: &configuration)
        if dev, configuration.controlSocket == Self.developmentControlSocket.socket {
            try makeControlFolder()
        }
        try configuration.validate()
        try ConfigurationReading.checkAddresses(configuration)
        return configuration
    }

    static var developmentControlSocket: (folder: String, socket: String) {
        ControlAddress.development(
            runtimeDirectory: CurrentProcess.environment("XDG_RUNTIME_DIR"),
            temporaryDirectory: CurrentProcess.environment("TMPDIR"),
            user: CurrentProcess.effectiveUser
        )
    }

    private func makeControlFolder() throws(ConfigurationError) {
        do throws(SystemCallError) {
            try File.makeDirectory(Self.developmentControlSocket.folder, mode: 0o700)
        } catch {
            throw ConfigurationError(key: "control_socket", why: "\(error): name another by --control-socket")
        }
    }
}
