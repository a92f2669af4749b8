// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// `martletd check-config` says what would prevent a start, as far as this is known before workers read their keys.
struct CheckConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract: "Check a configuration and the files that it names; exit 0, or exit 1 and say where it is wrong."
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
            try StandardOutput.print("warning: \(path) can be read by every user on this machine")
        }
        for problem in problems { try StandardOutput.print(Printable.text("\(problem)")) }
        guard problems.isEmpty else { throw ExitCode(1) }
        try StandardOutput.print("The configuration is good.")
    }
}
