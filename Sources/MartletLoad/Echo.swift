// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore

struct Echo: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sends numbered messages over each connection and waits for them to come back (/echo with --dev)."
    )

    @OptionGroup var options: LoadOptions

    @Option(name: .shortAndLong, help: "Connections.")
    var connections = 100

    @Option(name: .shortAndLong, help: "Messages per connection.")
    var messages = 100

    @Option(name: .shortAndLong, help: "Bytes per message.")
    var size = 128

    @Option(
        name: .shortAndLong,
        help: "Messages that each connection sends in one write, before it waits for all of them."
    )
    var window = 1

    func validate() throws {
        guard window > 0 else { throw ValidationError("--window must be at least 1") }
    }

    func run() throws {
        try Measurement(options).run { try EchoRun(self, $0).run() }
    }
}
