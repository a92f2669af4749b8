// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The command line of the supervisor.
///
/// This target in reading order: Martletd (the command line; MartletConfiguration reads the configuration), Listeners
/// (the sockets), Supervisor (one turn), WorkerProcess (one shard's worker), Switchboard (frames between workers),
/// ControlServer (operators' requests).
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

    /// Runs `body`, and turns an error into a sentence and an exit code.
    static func report(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let error as ConfigurationError {
            CurrentProcess.printError(Printable.text("martletd: \(error)"))
            // Another attempt would not fix this (EX_CONFIG of sysexits.h): a service manager gives up at once.
            throw ExitCode(BirthContract.exitCodeOfBadConfiguration)
        } catch let error as SystemCallError {
            CurrentProcess.printError(Printable.text("martletd: \(error)"))
            throw ExitCode(1)
        }
    }
}
