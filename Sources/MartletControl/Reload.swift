// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletLinux
internal import MartletWire

/// `martletctl reload`: reads the configuration again; no client notices.
struct Reload: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Reads the configuration again and replaces every worker; if it is invalid, nothing changes (exit 1)."
    )

    @OptionGroup var options: ControlOptions

    func run() throws {
        var client = try options.client(patience: .replacement)
        let answer = try client.request("POST", "/v1/reload")
        if options.json { try answer.printBody() } else { try StandardOutput.print("The configuration is in effect.") }
    }
}
