// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// What the next supervisor must know to go on with our workers.
///
/// It is in memory that the service manager keeps, and is up to date at every moment, so that it can be used if we are
/// killed. Descriptors are named by ``descriptorIdentity(_:)``, processes by their ids.
struct StoreState: Record, Equatable {
    /// A shard, with the processes that may touch its memory.
    struct Shard: Equatable {
        var generation: UInt32 = 0
        /// The worker's process id; 0: there is no worker.
        var pid: Int32 = 0
        var keeperPid: Int32 = 0
        var tether: UInt64 = 0
        var post: UInt64 = 0
        var keeper: UInt64 = 0
        var arena: UInt64 = 0
        /// The keeper of a worker that has ended, and from which the current one has not taken over yet; 0: none.
        var estate: UInt64 = 0
        var restarts: Int = 0
        var lastEnd: String?
        /// What earlier workers have counted.
        var ledger = Counters()
    }

    private static let version: UInt16 = 1

    /// The version of the program that wrote this.
    var program = Martlet.version
    var arenaVersion = ArenaLayout.version
    /// The number of the supervisor: the first one is 1, the next one that goes on with its workers is 2.
    var run: UInt64 = 0
    var startOnly = StartOnly()
    var mapGeneration: UInt32 = 0
    var board: UInt64 = 0
    var addressKey: UInt64 = 0
    /// A secret that was generated for this run; empty: none.
    var developmentSecret: [UInt8] = []
    /// The program from which workers were started (``ProgramFile/identity``).
    var workerProgram: String = ""
    /// A digest of everything that workers got when they started.
    var configuration: [UInt8] = []
    /// Whether we were asked to end, so that the next supervisor replaces all workers.
    var isPlanned = false
    var shards: [Shard] = []

    /// Nothing yet, to be filled.
    init() {}

    var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(self)
        return writer.bytes
    }

    init(_ bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt16.self) == Self.version else { throw .wrongVersion }
        try code(&reader)
        guard startOnly.isWhole, (1...ShardMap.largestShardCount).contains(shards.count) else { throw .unknownValue }
        try reader.finish()
    }

    mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
        try coder.code(&program)
        try coder.code(&arenaVersion)
        try coder.code(&run)
        try coder.code(&startOnly)
        try coder.code(&mapGeneration)
        try coder.code(&board)
        try coder.code(&addressKey)
        try coder.code(&developmentSecret, limit: 65536)
        try coder.code(&workerProgram)
        try coder.code(&configuration, limit: 64)
        try coder.code(&isPlanned)
        try coder.code(&shards, ofAtLeast: 48, blank: Shard())
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

extension StoreState.Shard: Record {
    mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
        try coder.code(&generation)
        try coder.code(&pid)
        try coder.code(&keeperPid)
        try coder.code(&tether)
        try coder.code(&post)
        try coder.code(&keeper)
        try coder.code(&arena)
        try coder.code(&estate)
        // As a worker's statistics, of which the rest is empty.
        var statistics = ShardStatistics()
        statistics.restarts = restarts
        statistics.lastEnd = lastEnd
        statistics.counters = ledger
        try coder.code(&statistics)
        restarts = statistics.restarts
        lastEnd = statistics.lastEnd
        ledger = statistics.counters
    }
}
