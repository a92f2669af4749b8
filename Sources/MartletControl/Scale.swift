// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletLinux
internal import MartletWire

/// `martletctl scale`: changes the number of workers; users move with their connections.
struct Scale: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Changes the number of workers until the next start; no connection is dropped."
    )

    @OptionGroup var options: ControlOptions

    @Argument(help: "How many workers, from 1 to 128.")
    var workers: Int

    func validate() throws {
        guard (1...128).contains(workers) else { throw ValidationError("There can be 1 to 128 workers.") }
    }

    func run() throws {
        var client = try options.client(patience: .replacement)
        let answer = try client.request("POST", "/v1/scale", body: Array("{\"workers\":\(workers)}".utf8))
        if options.json {
            try answer.printBody()
        } else {
            try StandardOutput.print("\(workers) \(workers == 1 ? "worker serves" : "workers serve").")
        }
    }
}
