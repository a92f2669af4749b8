// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore

struct Unicast: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sends numbered messages to one user after another and checks each."
    )

    @OptionGroup var options: LoadOptions

    @Option(name: .shortAndLong, help: "Connections, each for a different user.")
    var connections = 1000

    @Option(name: .shortAndLong, help: "Messages in total.")
    var messages = 20000

    @Option(name: .shortAndLong, help: "Bytes per message.")
    var size = 128

    @Option(name: .shortAndLong, help: "Messages in flight at the same time.")
    var window = 32

    func run() throws {
        try Measurement(options).run { try PublishRun.unicast(self, $0).run() }
    }
}
