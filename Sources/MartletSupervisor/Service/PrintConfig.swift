// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// `martletd print-config`: every key, with what it is for.
struct PrintConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "print-config",
        abstract: "Print every key with its value and what it is for; secrets are never printed."
    )

    @Option(help: ArgumentHelp("Show what is in effect with this file, too.", valueName: "file"))
    var config: String?

    @Flag(help: "Print the reference as a Markdown table instead of YAML, with the defaults.")
    var markdown = false

    func run() throws {
        try Martletd.report {
            let reading = ConfigurationReading(file: config, flags: [:], over: Configuration())
            if let problem = reading.problems.first { throw problem }
            // The reference has the defaults, so that it is the same everywhere.
            try StandardOutput.print(
                markdown
                    ? ConfigurationText.markdown(Configuration()) : ConfigurationText.yaml(reading.configuration),
                terminator: ""
            )
        }
    }
}
