// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The options of every subcommand.
struct ControlOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The supervisor's control socket (or MARTLET_CONTROL_SOCKET).", valueName: "path"))
    var controlSocket: String?

    @Flag(help: "Print JSON, for scripts.")
    var json = false

    func client(patience: ControlClient.Patience = .usual) throws(ControlFailure) -> ControlClient {
        let path = controlSocket ?? CurrentProcess.environment("MARTLET_CONTROL_SOCKET")
        if path == "none" { throw .notRunning("a service without a control socket (none) cannot be reached") }
        return try ControlClient(path: path, patience: patience)
    }
}
