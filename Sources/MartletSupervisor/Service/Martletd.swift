internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
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
            There is one worker process per CPU, and each serves a share of the users; this process starts, watches and
            connects them.
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
