// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletLinux
internal import MartletWire

/// `martletctl restart`: replaces workers, one after another; no client notices.
struct Restart: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Replaces the worker of one shard, or of all shards; no connection is dropped."
    )

    @OptionGroup var options: ControlOptions

    @Option(help: "The shard.")
    var shard: Int?

    @Flag(help: "Every shard, one after another.")
    var all = false

    func validate() throws {
        if (shard == nil) != all { throw ValidationError("Give --shard N, or --all.") }
    }

    func run() throws {
        var client = try options.client(patience: .replacement)
        var shards = shard.map { [$0] } ?? []
        if all {
            let list = try client.get("/v1/stats").json()["shards"]?.array ?? []
            shards = list.compactMap { $0["shard"]?.int }
        }
        for shard in shards {
            let answer = try client.request("POST", "/v1/shards/\(shard)/restart")
            if options.json {
                try answer.printBody()
            } else {
                try StandardOutput.print("Shard \(shard) has a new worker.")
            }
        }
    }
}
