// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore

struct Connect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Opens connections and holds them: handshakes per second, CPU and memory for each."
    )

    @OptionGroup var options: LoadOptions

    @Option(name: .shortAndLong, help: "Connections.")
    var connections = 1000

    @Option(help: "How many users they belong to.")
    var users = 1000

    @Option(help: "Handshakes in progress at the same time.")
    var concurrency = 64

    @Option(help: "Seconds to hold the connections.")
    var hold = 0

    func run() throws {
        try Measurement(options).run { try ConnectRun(self, $0).run() }
    }
}
