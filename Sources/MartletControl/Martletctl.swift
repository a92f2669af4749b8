internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The operator's command line.
///
/// Exit 0: done; 1: failed; 2: wrong usage; 3: the service is not running.
@main
struct Martletctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martletctl",
        abstract: "Looks into a running Martlet, and acts on it.",
        version: Martlet.version,
        subcommands: [
            Status.self, Stats.self, Top.self, Connections.self, Send.self, Disconnect.self, Token.self,
            CheckToken.self, Restart.self, Reload.self, Scale.self, Upgrade.self, Stop.self,
        ]
    )

    static func main() {
        CurrentProcess.openStandardDescriptors()
        SignalSource.ignoreBrokenPipes()
        let arguments = Arguments(Array(CommandLine.arguments.dropFirst()))
        do {
            var command = try parseAsRoot(arguments.ordered)
            try command.run()
        } catch let failure as ControlFailure {
            end(failure, isJSON: arguments.wantJSON)
        } catch let error as SystemCallError {
            end(.broken("\(error)"), isJSON: arguments.wantJSON)
        } catch {
            let code = exitCode(for: error)
            let message = fullMessage(for: error)
            if code == .success {
                do throws(SystemCallError) {
                    try StandardOutput.print(message)
                } catch {
                    end(.broken("\(error)"), isJSON: false)
                }
            } else if code == .validationFailure, arguments.wantJSON {
                end(.usage(message), isJSON: true)
            } else if !message.isEmpty {
                CurrentProcess.printError(message)
            }
            CurrentProcess.exit(code == .validationFailure ? 2 : code.rawValue)
        }
    }

    /// Says why, for people or for programs, and exits.
    private static func end(_ failure: ControlFailure, isJSON: Bool) -> Never {
        CurrentProcess.printError(isJSON ? failure.json : "martletctl: \(Printable.text("\(failure)"))")
        CurrentProcess.exit(failure.exitCode)
    }
}

/// What was written on the command line.
private struct Arguments {
    /// With the options that all verbs take behind the verb, where the parser looks for them: both orders are usual.
    let ordered: [String]
    let wantJSON: Bool

    init(_ arguments: [String]) {
        var leading: [String] = []
        var rest = arguments[...]
        while let first = rest.first {
            if first == "--json" || first.hasPrefix("--control-socket=") {
                leading.append(rest.removeFirst())
            } else if first == "--control-socket", rest.count > 1 {
                leading += [rest.removeFirst(), rest.removeFirst()]
            } else {
                break
            }
        }
        let isVerb = rest.first.map { !$0.hasPrefix("-") } ?? false
        ordered = isVerb ? [rest.removeFirst()] + leading + rest : arguments
        wantJSON = arguments.contains("--json")
    }
}

/// What every subcommand takes.
struct ControlOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The supervisor's control socket (or MARTLET_CONTROL_SOCKET).", valueName: "path"))
    var controlSocket: String?

    @Flag(help: "Print JSON, for scripts.")
    var json = false

    func client(patience: ControlClient.Patience = .usual) throws(ControlFailure) -> ControlClient {
        let path = controlSocket ?? CurrentProcess.environment("MARTLET_CONTROL_SOCKET")
        if path == "none" { throw .notRunning("a service with no control socket (none) cannot be asked") }
        return try ControlClient(path: path, patience: patience)
    }
}

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Says whether every shard serves (exit 1 if not).")

    @OptionGroup var options: ControlOptions

    func run() throws {
        var client = try options.client()
        let answer = try client.get("/v1/stats")
        if options.json { try answer.printBody() } else { try StandardOutput.print(Report.status(try answer.json())) }
        let shards = try answer.json()["shards"]?.array ?? []
        if shards.isEmpty || shards.contains(where: { $0["state"]?.string != "serving" }) { throw ExitCode(1) }
    }
}

struct Stats: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints the statistics of the node or of a shard.")

    @OptionGroup var options: ControlOptions

    @Option(help: "One shard only.")
    var shard: Int?

    @Flag(help: "How many connections each user has.")
    var byUser = false

    @Flag(help: "Print again every second, until interrupted.")
    var watch = false

    func run() throws {
        var client = try options.client()
        repeat {
            let path = shard.map { "/v1/stats/shards/\($0)" } ?? "/v1/stats\(byUser ? "?by_user=true" : "")"
            let answer = try client.get(path)
            if options.json {
                try answer.printBody()
            } else {
                let json = try answer.json()
                try StandardOutput.print(shard == nil ? Report.statistics(json) : Report.shards([json]))
            }
            if watch { Pause.seconds(1) }
        } while watch && !StandardOutput.isUnread
    }
}

struct Connections: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists a user's connections, or every user with the number of theirs."
    )

    @OptionGroup var options: ControlOptions

    @Option(help: "Whose connections.")
    var user: String?

    func run() throws {
        var client = try options.client()
        guard let user else {
            let answer = try client.get("/v1/stats?by_user=true")
            let node = try answer.json()
            try StandardOutput.print(options.json ? Report.usersJSON(node) : Report.users(node))
            return
        }
        let answer = try client.get("/v1/users/\(HTTPSyntax.percentEncoded(user))/connections")
        if options.json {
            try answer.printBody()
        } else {
            try StandardOutput.print(Report.connections(try answer.json()))
        }
    }
}

struct Disconnect: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Closes a user's connections, or one connection.")

    @OptionGroup var options: ControlOptions

    @Option(help: "All connections of a user.")
    var user: String?

    @Option(help: ArgumentHelp("One connection.", valueName: "id"))
    var connection: String?

    @Option(help: "The close code: 1000, 1001, 1008 or 3000 to 4999.")
    var code: Int?

    @Option(help: ArgumentHelp("The reason in the close frame.", valueName: "text"))
    var reason: String?

    func validate() throws {
        if (user == nil) == (connection == nil) { throw ValidationError("Give either --user or --connection.") }
    }

    func run() throws {
        var path =
            user.map { "/v1/users/\(HTTPSyntax.percentEncoded($0))/connections" }
            ?? "/v1/connections/\(HTTPSyntax.percentEncoded(connection ?? ""))"
        var parameters: [String] = []
        if let code { parameters.append("code=\(code)") }
        if let reason { parameters.append("reason=\(HTTPSyntax.percentEncoded(reason))") }
        if !parameters.isEmpty { path += "?" + parameters.joined(separator: "&") }
        var client = try options.client()
        let answer = try client.request("DELETE", path)
        let closed = try answer.json()["closed"]?.int ?? 0
        if options.json { try answer.printBody() } else { try StandardOutput.print("closed \(closed)") }
        if closed == 0 { throw ExitCode(1) }
    }
}
