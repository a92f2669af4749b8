internal import ArgumentParser
internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletSystemd
internal import MartletWire

/// The command line of the supervisor.
///
/// In reading order of this room: Martletd (what was asked for; MartletConfiguration says what is configured), Listeners (which
/// sockets), Supervisor (one turn), WorkerProcess (one shard's worker), Switchboard (words between them), ControlServer (what
/// operators ask).
@main
struct Martletd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martletd",
        abstract: "Self-hosted WebSocket push server.",
        discussion: """
            Backends POST messages to the HTTP API; browsers that are connected as the addressed user receive them.
            One worker process per CPU serves a share of the users each; this process starts, watches and connects them.
            """,
        version: Martlet.version,
        subcommands: [Serve.self, CheckConfig.self, PrintConfig.self],
        defaultSubcommand: Serve.self
    )

    static func main() {
        CurrentProcess.openStandardDescriptors()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            let code = exitCode(for: error)
            let message = fullMessage(for: error)
            do throws(SystemCallError) {
                if code == .success { try StandardOutput.print(message) }
                if code != .success, !message.isEmpty { CurrentProcess.printError(message) }
                CurrentProcess.exit(code.rawValue)
            } catch {
                CurrentProcess.printError("martletd: \(error)")
                CurrentProcess.exit(1)
            }
        }
    }

    /// Runs, and ends with a sentence where something cannot be.
    static func report(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let error as ConfigurationError {
            CurrentProcess.printError(Printable.text("martletd: \(error)"))
            // What another try cannot mend (EX_CONFIG of sysexits.h): a service manager gives up at once.
            throw ExitCode(BirthContract.exitCodeOfBadConfiguration)
        } catch let error as SystemCallError {
            CurrentProcess.printError(Printable.text("martletd: \(error)"))
            throw ExitCode(1)
        }
    }
}

/// `martletd`: serves until it is told to stop.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Serve until SIGTERM or SIGINT (what martletd does).")

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

    @Flag(
        help: ArgumentHelp(
            "Let the workers outlive this process: SIGTERM ends it alone, and the next one goes on with them.",
            discussion:
                "Needs a service manager that keeps their descriptors (FileDescriptorStoreMax=, KillMode=process)."
        )
    )
    var keepWorkers = false

    @Flag(help: ArgumentHelp("Say whether a running supervisor could become this program.", visibility: .hidden))
    var checkState = false

    func run() throws {
        // Before a secret is read.
        if !dev { CurrentProcess.hideMemory() }
        if checkState {
            if StateCheck.run(settings) { return }
            throw ExitCode(1)
        }
        try Martletd.report {
            let serve = self
            let resumption = try Resumption()
            let (configuration, secrets): (Configuration, SecretReading)
            do {
                (configuration, secrets) =
                    try resumption.map { try StateCheck.check($0.state, settings) } ?? usableSettings()
            } catch {
                resumption?.fallBack(error)
                throw error
            }
            try Supervisor.run(configuration, secrets, resuming: resumption, isStoring: keepWorkers) {
                try serve.settings()
            }
        }
    }

    /// The settings; where workers of the process before serve on, a configuration that is bad now does not end them: it is
    /// read again and again until it is good, or the service manager's patience with this start is at its end.
    private func usableSettings() throws(ConfigurationError) -> (Configuration, SecretReading) {
        var said = ""
        while true {
            do throws(ConfigurationError) {
                return try settings()
            } catch {
                guard keepWorkers, Systemd.inheritedNames.contains(DescriptorStore.stateName) else { throw error }
                if said != "\(error)" {
                    said = "\(error)"
                    CurrentProcess.printError(
                        Printable.text("martletd: \(error); the workers of before serve on, and this is tried again")
                    )
                    Systemd.notify("STATUS=Workers serve on, the configuration cannot be used: \(error)")
                }
                CurrentProcess.pause(milliseconds: 500)
            }
        }
    }

    private func settings() throws(ConfigurationError) -> (Configuration, SecretReading) {
        var flags: [String: String] = [:]
        flags["workers"] = workers
        flags["client.listen"] = clientListen
        flags["api.listen"] = apiListen
        flags["control_socket"] = controlSocket
        var defaults = dev ? Configuration.development : Configuration()
        if dev { defaults.controlSocket = Self.developmentControlSocket.socket }
        let reading = ConfigurationReading(file: config, flags: flags, over: defaults)
        if let problem = reading.problems.first { throw problem }
        if dev, reading.configuration.controlSocket == Self.developmentControlSocket.socket {
            try makeControlFolder()
        }
        return (reading.configuration, try reading.checked())
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

/// `martletd check-config` says what would stop a start, as far as that shows before workers read their keys.
struct CheckConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract: "Check a configuration and the files that it names; exit 0, or 1 and where it is wrong."
    )

    @Option(help: ArgumentHelp("Configuration file (YAML).", valueName: "file"))
    var config: String?

    func run() throws {
        let reading = ConfigurationReading(file: config, flags: [:], over: Configuration())
        var (secrets, problems) = reading.check()
        let (unusable, warnings) = reading.unusableAddresses()
        problems += unusable
        do throws(ConfigurationError) {
            let isNetwork = !reading.configuration.api.listen.hasPrefix("unix:")
            if secrets.problems.isEmpty { try secrets.checkBackends(isNetwork: isNetwork) }
        } catch {
            problems.append(reading.located(error))
        }
        for warning in warnings { try StandardOutput.print("warning: \(warning)") }
        for path in secrets.exposed {
            try StandardOutput.print("warning: \(path) can be read by every user of this machine")
        }
        for problem in problems { try StandardOutput.print(Printable.text("\(problem)")) }
        guard problems.isEmpty else { throw ExitCode(1) }
        try StandardOutput.print("The configuration is good.")
    }
}

/// `martletd print-config`: every key, with what it is for.
struct PrintConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "print-config",
        abstract: "Print every key with its value and what it is for; never a secret."
    )

    @Option(help: ArgumentHelp("Show what is in force with this file, too.", valueName: "file"))
    var config: String?

    @Flag(help: "Print the reference as a Markdown table instead of YAML, with the defaults.")
    var markdown = false

    func run() throws {
        try Martletd.report {
            let reading = ConfigurationReading(file: config, flags: [:], over: Configuration())
            if let problem = reading.problems.first { throw problem }
            // The reference is the same everywhere.
            try StandardOutput.print(
                markdown
                    ? ConfigurationText.markdown(Configuration()) : ConfigurationText.yaml(reading.configuration),
                terminator: ""
            )
        }
    }
}
