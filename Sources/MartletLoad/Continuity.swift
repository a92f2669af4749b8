// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import Foundation
internal import NIOCore

/// `martlet-load continuity`: holds connections while workers come and go.
struct Continuity: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Holds connections under numbered traffic both ways while workers are replaced or killed."
    )

    @OptionGroup var options: LoadOptions

    @Option(
        name: .shortAndLong,
        help: "Connections, each for a different user; up to 50 more send echoes, unless there are sessions."
    )
    var connections = 500

    @Option(help: "How many seconds it runs; longer if the commands take longer.")
    var seconds = 5.0

    @Option(help: ArgumentHelp("Commands for martletctl, one after another, separated by commas.", valueName: "list"))
    var commands: String?

    @Flag(help: "Run the commands with sh instead of martletctl.")
    var shell = false

    @Option(help: "How many times the list of commands is run.")
    var rounds = 1

    @Option(help: "Seconds between two commands.")
    var pause = 0.5

    @Option(help: ArgumentHelp("The martletctl program (default: next to this one).", valueName: "path"))
    var martletctl: String?

    @Option(help: ArgumentHelp("The service's control socket.", valueName: "path"))
    var controlSocket: String?

    @Flag(help: "Kill a random worker every 0.5 to 2 seconds (on this machine).")
    var kill = false

    @Flag(help: "Connections are sessions, and reach the server through a proxy that cuts, stalls and delays them.")
    var cut = false

    @Option(help: ArgumentHelp("Mean time between two cuts, over all connections.", valueName: "milliseconds"))
    var cutInterval = 20

    @Flag(help: "Cut connections before the answer, too, so that requests to resume come after their client has gone.")
    var cutHandshakes = false

    @Option(help: "Backends that publish to users, each with one publish in flight.")
    var backends = 8

    @Flag(help: "Publish without Idempotency-Key: the server itself must recognise what is asked again.")
    var withoutKeys = false

    @Option(help: "Milliseconds between two publishes of one backend.")
    var publishPause = 5

    @Option(help: "Milliseconds between two broadcasts, and between two messages to the thread.")
    var broadcastInterval = 250

    func validate() throws {
        if kill, commands != nil { throw ValidationError("Give either --kill or --commands, not both.") }
        if cutInterval < 1 { throw ValidationError("--cut-interval must be at least 1.") }
        if connections < backends { throw ValidationError("There must be at least as many connections as backends.") }
    }

    func run() throws {
        try Measurement(options).run {
            if cut { try SessionRun(self, $0).run() } else { try ContinuityRun(self, $0).run() }
        }
    }

    /// The first of the connections that are in the thread: half of them, or, because a token puts its bearer into the
    /// threads that it names, all.
    var firstInThread: Int { options.hasTokens ? 0 : connections / 2 }

    /// Plans what backends publish.
    func traffic(hasSessions: Bool) -> Traffic.Settings {
        Traffic.Settings(
            connections: connections,
            firstInThread: firstInThread,
            backends: backends,
            hasKeys: !withoutKeys,
            unicastPause: .milliseconds(Int64(publishPause)),
            broadcastPause: .milliseconds(Int64(broadcastInterval)),
            // What a session keeps for its client (client.resume_bytes) must hold what comes until the next socket.
            paddings: [10, 10, 10, 10, 10, 10, 10, 2000, 2000, hasSessions ? 8000 : 60000],
            hasSessions: hasSessions
        )
    }

    /// Makes what happens to the server during the run.
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
