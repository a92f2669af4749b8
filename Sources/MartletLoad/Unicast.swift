internal import ArgumentParser
internal import MartletCore

struct Unicast: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sends numbered messages to one user after the other and checks each."
    )

    @OptionGroup var options: LoadOptions

    @Option(name: .shortAndLong, help: "Connections, each of a user of its own.")
    var connections = 1000

    @Option(name: .shortAndLong, help: "Messages in all.")
    var messages = 20000

    @Option(name: .shortAndLong, help: "Bytes of a message.")
    var size = 128

    @Option(name: .shortAndLong, help: "Messages on their way at once.")
    var window = 32

    func run() throws {
        try Measurement(options).run { try PublishRun.unicast(self, $0).run() }
    }
}
