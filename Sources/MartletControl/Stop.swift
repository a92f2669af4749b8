// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletLinux
internal import MartletWire

/// `martletctl stop`: ends the service.
struct Stop: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Closes every connection (1001) and ends the service, as systemctl stop does first."
    )

    @OptionGroup var options: ControlOptions

    func run() throws {
        var client = try options.client(patience: .replacement)
        let answer = try client.request("POST", "/v1/stop")
        if options.json { try answer.printBody() } else { try StandardOutput.print("The service has stopped.") }
    }
}
