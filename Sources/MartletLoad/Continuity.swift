internal import ArgumentParser
internal import Foundation
internal import NIOCore

/// `martlet-load continuity`: connections are held while workers come and go.
struct Continuity: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Holds connections under numbered traffic both ways while workers are replaced or killed."
    )

    @OptionGroup var options: LoadOptions

    @Option(name: .shortAndLong, help: "Connections, each of a user of its own; up to 50 more echo.")
    var connections = 500

    @Option(help: "Seconds; longer where commands take longer.")
    var seconds = 5.0

    @Option(help: ArgumentHelp("What martletctl is told, one after the other, separated by commas.", valueName: "list"))
    var commands: String?

    @Flag(help: "The commands are for sh, not for martletctl.")
    var shell = false

    @Option(help: "How often the list of commands is gone through.")
    var rounds = 1

    @Option(help: "Seconds between two commands.")
    var pause = 0.5

    @Option(help: ArgumentHelp("The program martletctl (default: beside this one).", valueName: "path"))
    var martletctl: String?

    @Option(help: ArgumentHelp("The service's control socket.", valueName: "path"))
    var controlSocket: String?

    @Flag(help: "Kill a random worker every 0.5 to 2 seconds (on this machine).")
    var kill = false

    @Option(help: "Publishers to users, each with one publish under way.")
    var backends = 8

    @Flag(help: "Publish without Idempotency-Key: what is asked again must be recognised by itself.")
    var withoutKeys = false

    @Option(help: "Milliseconds between two publishes of one of them.")
    var publishPause = 5

    @Option(help: "Milliseconds between two broadcasts, and between two messages to the thread.")
    var broadcastInterval = 250

    var unicastPause: TimeAmount { .milliseconds(Int64(publishPause)) }
    var broadcastPause: TimeAmount { .milliseconds(Int64(broadcastInterval)) }

    func validate() throws {
        if kill, commands != nil { throw ValidationError("Either --kill, or --commands.") }
        if connections < backends { throw ValidationError("There must be as many connections as backends.") }
    }

    func run() throws {
        try Measurement(options).run { try ContinuityRun(self, $0).run() }
    }

    /// What happens during the run.
    func disturbance(_ workers: @escaping () -> [Disturbance.Worker]) throws -> Disturbance {
        var kind = Disturbance.Kind.nothing
        if kill { kind = .kills(everySeconds: 0.5...2) }
        if let commands {
            let list = commands.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
            let own = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
            let program = martletctl ?? own.appendingPathComponent("martletctl").path
            let all = (0..<rounds).flatMap { _ in list }
            let ending = controlSocket.map { ["--control-socket", $0] } ?? []
            kind = .commands(
                all.map { command in
                    shell
                        ? ["/bin/sh", "-c", command]
                        : [program] + command.split(separator: " ").map(String.init) + ending
                }
            )
        }
        return Disturbance(kind, pause: pause, seconds: seconds, workers: workers)
    }
}
