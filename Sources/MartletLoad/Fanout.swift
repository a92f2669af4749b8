internal import ArgumentParser
internal import MartletCore

struct Fanout: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Broadcasts numbered messages to all connections and checks that each has each, once, in order."
    )

    @OptionGroup var options: LoadOptions

    @Option(name: .shortAndLong, help: "Connections that receive.")
    var connections = 1000

    @Option(name: .shortAndLong, help: "Messages.")
    var messages = 200

    @Option(name: .shortAndLong, help: "Bytes of a message.")
    var size = 128

    @Option(name: .shortAndLong, help: "Messages on their way at once.")
    var window = 1

    func run() throws {
        try Measurement(options).run { try PublishRun.fanout(self, $0).run() }
    }
}
