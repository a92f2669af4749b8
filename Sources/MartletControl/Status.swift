// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
internal import MartletWire

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Says whether every shard is serving (exit 1 if not).")

    @OptionGroup var options: ControlOptions

    func run() throws {
        var client = try options.client()
        let answer = try client.get("/v1/stats")
        if options.json { try answer.printBody() } else { try StandardOutput.print(Report.status(try answer.json())) }
        let shards = try answer.json()["shards"]?.array ?? []
        if shards.isEmpty || shards.contains(where: { $0["state"]?.string != "serving" }) { throw ExitCode(1) }
    }
}
