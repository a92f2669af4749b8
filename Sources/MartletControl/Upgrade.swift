// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletLinux
internal import MartletWire

/// `martletctl upgrade`: the programs in the files from which the running ones were started take over.
struct Upgrade: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lets the installed programs take over from the running ones; no connection is dropped."
    )

    @OptionGroup var options: ControlOptions

    func run() throws {
        var client = try options.client(patience: .replacement)
        let answer = try client.request("POST", "/v1/upgrade")
        if options.json { return try answer.printBody() }
        try StandardOutput.print("Martlet \(try answer.json()["version"]?.string ?? "") serves.")
    }
}
