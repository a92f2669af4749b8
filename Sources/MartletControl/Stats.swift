// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
internal import MartletWire

struct Stats: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints the statistics of the node or of a shard.")

    @OptionGroup var options: ControlOptions

    @Option(help: "One shard only.")
    var shard: Int?

    @Flag(help: "Show how many connections each user has.")
    var byUser = false

    @Flag(help: "Print again every second, until interrupted.")
    var watch = false

    func run() throws {
        var client = try options.client()
        repeat {
            let path = shard.map { "/v1/stats/shards/\($0)" } ?? "/v1/stats\(byUser ? "?by_user=true" : "")"
            let answer = try client.get(path)
            if options.json {
                try answer.printBody()
            } else {
                let json = try answer.json()
                try StandardOutput.print(shard == nil ? Report.statistics(json) : Report.shards([json]))
            }
            if watch { Pause.seconds(1) }
        } while watch && !StandardOutput.isUnread
    }
}
