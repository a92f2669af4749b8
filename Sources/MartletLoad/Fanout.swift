// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore

struct Fanout: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Broadcasts numbered messages and checks that each connection gets each one once, in order."
    )

    @OptionGroup var options: LoadOptions

    @Option(name: .shortAndLong, help: "Connections that receive.")
    var connections = 1000

    @Option(name: .shortAndLong, help: "Messages.")
    var messages = 200

    @Option(name: .shortAndLong, help: "Bytes per message.")
    var size = 128

    @Option(name: .shortAndLong, help: "Messages in flight at the same time.")
    var window = 1

    @Option(help: "Deliveries per second; 0: as many as there can be.")
    var rate = 0

    func run() throws {
        try Measurement(options).run { try PublishRun.fanout(self, $0).run() }
    }
}
