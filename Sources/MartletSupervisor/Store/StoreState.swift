internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// What the next supervisor must know to go on with our workers.
///
/// It is in memory that the service manager keeps, and is up to date at every moment, so that it can be used if we are
/// killed. Descriptors are named by ``descriptorIdentity(_:)``, processes by their ids.
struct StoreState: Equatable {
    /// A shard, with the processes that may touch its memory.
    struct Shard: Equatable {
        var generation: UInt32
        /// The worker's process id; 0: there is no worker.
        var pid: Int32
        var keeperPid: Int32
        var tether: UInt64
        var post: UInt64
        var keeper: UInt64
        var arena: UInt64
        /// The keeper of a worker that has ended, and from which the current one has not taken over yet; 0: none.
        var estate: UInt64
        var restarts: Int
        var lastEnd: String?
        /// What earlier workers have counted.
        var ledger: Counters
    }

    private static let version: UInt16 = 1

    /// The version of the program that wrote this.
    var program = Martlet.version
    var arenaVersion = ArenaLayout.version
    /// The number of the supervisor: the first one is 1, the next one that goes on with its workers is 2.
    var run: UInt64
    var startOnly: StartOnly
    var mapGeneration: UInt32
    var board: UInt64
    var addressKey: UInt64
    /// A secret that was generated for this run; empty: none.
    var developmentSecret: [UInt8]
    /// The program from which workers were started (``ProgramFile/identity``).
    var workerProgram: String
    /// A digest of everything that workers got when they started.
    var configuration: [UInt8]
    /// Whether we were asked to end, so that the next supervisor replaces all workers.
    var isPlanned = false
    var shards: [Shard] = []

    var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(program)
        writer.put(arenaVersion)
        writer.put(run)
        startOnly.write(to: &writer)
        writer.put(mapGeneration)
        writer.put(board)
        writer.put(addressKey)
        writer.put(developmentSecret)
        writer.put(workerProgram)
        writer.put(configuration)
        writer.put(isPlanned)
        writer.put(UInt32(shards.count))
        for shard in shards { shard.write(to: &writer) }
        return writer.bytes
    }

    init(_ bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt16.self) == Self.version else { throw .wrongVersion }
        program = try reader.text()
        arenaVersion = try reader.integer()
        run = try reader.integer()
        startOnly = try StartOnly(&reader)
        mapGeneration = try reader.integer()
        board = try reader.integer()
        addressKey = try reader.integer()
        developmentSecret = try reader.raw(limit: 65536)
        workerProgram = try reader.text()
        configuration = try reader.raw(limit: 64)
        isPlanned = try reader.flag()
        for _ in 0..<(try reader.count(ofAtLeast: 48)) { shards.append(try Shard(&reader)) }
        guard (1...ShardMap.largestShardCount).contains(shards.count) else { throw .unknownValue }
        try reader.finish()
    }

    init(
        run: UInt64,
        startOnly: StartOnly,
        mapGeneration: UInt32,
        board: Board,
        developmentSecret: [UInt8],
        workerProgram: String,
        configuration: [UInt8]
    ) {
        self.run = run
        self.startOnly = startOnly
        self.mapGeneration = mapGeneration
        self.board = descriptorIdentity(board.memory.number)
        addressKey = board.addressKey
        self.developmentSecret = developmentSecret
        self.workerProgram = workerProgram
        self.configuration = configuration
    }
}

extension StoreState.Shard {
    fileprivate func write(to writer: inout ByteWriter) {
        writer.put(generation)
        writer.put(pid)
        writer.put(keeperPid)
        for number in [tether, post, keeper, arena, estate] { writer.put(number) }
        var statistics = ShardStatistics()
        statistics.restarts = restarts
        statistics.lastEnd = lastEnd
        statistics.counters = ledger
        writer.put(statistics)
    }

    fileprivate init(_ reader: inout ByteReader) throws(WireError) {
        generation = try reader.integer()
        pid = try reader.integer()
        keeperPid = try reader.integer()
        tether = try reader.integer()
        post = try reader.integer()
        keeper = try reader.integer()
        arena = try reader.integer()
        estate = try reader.integer()
        let statistics = try reader.shardStatistics()
        restarts = statistics.restarts
        lastEnd = statistics.lastEnd
        ledger = statistics.counters
    }
}
