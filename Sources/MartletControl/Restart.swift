internal import ArgumentParser
internal import MartletLinux
internal import MartletWire

/// `martletctl restart`: replaces workers, one after another; no client notices.
struct Restart: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Replaces the worker of a shard, or of all, with its connections; nobody is dropped."
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

/// `martletctl reload`: the configuration is read again; no client notices.
struct Reload: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Reads the configuration again and replaces every worker; exit 1, and nothing changed, where it is bad."
    )

    @OptionGroup var options: ControlOptions

    func run() throws {
        var client = try options.client(patience: .replacement)
        let answer = try client.request("POST", "/v1/reload")
        if options.json { try answer.printBody() } else { try StandardOutput.print("The configuration is in force.") }
    }
}

/// `martletctl scale`: another number of workers; users move with their connections.
struct Scale: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Changes the number of workers until the next start; nobody is dropped."
    )

    @OptionGroup var options: ControlOptions

    @Argument(help: "How many workers, from 1 to 128.")
    var workers: Int

    func validate() throws {
        guard (1...128).contains(workers) else { throw ValidationError("There can be 1 to 128 workers.") }
    }

    func run() throws {
        var client = try options.client(patience: .replacement)
        let answer = try client.request("POST", "/v1/scale", body: Array("{\"workers\":\(workers)}".utf8))
        if options.json {
            try answer.printBody()
        } else {
            try StandardOutput.print("\(workers) \(workers == 1 ? "worker serves" : "workers serve").")
        }
    }
}

/// `martletctl upgrade`: the programs that lie where the running ones were started from take over.
struct Upgrade: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lets the installed programs take over from the running ones; nobody is dropped."
    )

    @OptionGroup var options: ControlOptions

    func run() throws {
        var client = try options.client(patience: .replacement)
        let answer = try client.request("POST", "/v1/upgrade")
        if options.json { return try answer.printBody() }
        try StandardOutput.print("Martlet \(try answer.json()["version"]?.string ?? "") serves.")
    }
}

/// `martletctl stop`: the end of the service.
struct Stop: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Closes every connection (1001) and ends the service; what systemctl stop does first."
    )

    @OptionGroup var options: ControlOptions

    func run() throws {
        var client = try options.client(patience: .replacement)
        let answer = try client.request("POST", "/v1/stop")
        if options.json { try answer.printBody() } else { try StandardOutput.print("The service has stopped.") }
    }
}
