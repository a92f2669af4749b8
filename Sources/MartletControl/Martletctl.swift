// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The operator's command line.
///
/// The exit code is 0 for success, 1 for failure, 2 for wrong usage, and 3 if the service is not running.
@main
struct Martletctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martletctl",
        abstract: "Inspects and controls a running Martlet.",
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

    /// Prints why a command failed, for people or for programs, and exits.
    private static func end(_ failure: ControlFailure, isJSON: Bool) -> Never {
        CurrentProcess.printError(isJSON ? failure.json : "martletctl: \(Printable.text("\(failure)"))")
        CurrentProcess.exit(failure.exitCode)
    }
}
