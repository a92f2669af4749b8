// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// Everything that the supervisor's next program needs to go on where this one stops.
///
/// It is in a sealed memfd, and the descriptors that it names stay open.
struct SupervisorState: Record {
    /// A worker, as its supervisor knows it.
    struct Worker {
        var generation: UInt32 = 0
        var pid: Int32 = -1
        var keeperPid: Int32 = -1
        var link: Int32 = -1
        var post: Int32 = -1
        var postState = DescriptorChannel.Saved(window: CreditWindow(size: 0), owed: 0, waiting: [])
        var arena: Int32 = -1
        var keeper: Int32 = -1
        var tether: Int32 = -1
        /// What it reported last, with its last restart; counters of previous workers are in `ledger`.
        var reported = ShardStatistics()
        var ledger = ShardStatistics()
        var unread: [UInt8] = []
        var unsent: [UInt8] = []
    }

    /// The variable that tells the next program the descriptor of the state.
    static let variable = "MARTLET_RESUME"
    /// The variable that tells a previous program, when it comes back, why the next one could not go on.
    static let problemVariable = "MARTLET_RESUME_PROBLEM"
    /// The variable with the listening sockets of the metrics, as numbers with commas.
    ///
    /// Older programs, which have no such sockets, do not expect them in the state.
    private static let metricsVariable = "MARTLET_RESUME_METRICS"
    /// All variables that one program sets for the next.
    static let variables = [variable, problemVariable, metricsVariable]
    static let largest = 1 << 30
    private static let version: UInt16 = 2

    /// The version of the program that wrote this.
    var program = Martlet.version
    /// The path of the file that was started, which may be another file now.
    var path: String = ""
    /// The descriptor of the program that wrote this, in case the next one cannot go on.
    var previous: Int32 = -1
    /// The descriptor of that program's worker program.
    var workerProgram: Int32 = -1
    var startOnly = StartOnly()
    /// The layout of the shards' memory, which the next workers must be able to read.
    var arenaVersion = ArenaLayout.version
    var mapGeneration: UInt32 = 0
    var startedAt: UInt64 = 0
    var clientListeners: [Int32] = []
    var apiListeners: [Int32] = []
    /// The listening sockets of the metrics, which are not part of ``bytes``.
    private(set) var metricsListeners: [Int32] = []
    var control: Int32 = -1
    var clientAddress: String = ""
    var apiAddress: String = ""
    var ownedPaths: [String] = []
    var board: Int32 = -1
    var addressKey: UInt64 = 0
    /// A secret that was generated for this run; empty: none.
    var developmentSecret: [UInt8] = []
    /// The connection of whoever asked for the upgrade and waits for the answer; -1: nobody.
    var asker: Int32 = -1
    /// The memory that the service manager keeps for us; -1: none.
    var storeMemory: Int32 = -1
    var storedNames: [String] = []
    /// The workers, in the order of their shards.
    var workers: [Worker] = []
    /// Keepers that have not ended.
    var keepers: [Int32] = []
    var switchboard: [UInt8] = []

    /// Every descriptor that must stay open.
    var descriptors: [Int32] {
        let passed = workers.flatMap { worker in
            [worker.link, worker.post, worker.arena, worker.keeper, worker.tether]
                + worker.postState.waiting.compactMap(\.descriptor)
        }
        return
            (clientListeners + apiListeners + metricsListeners + [
                control, previous, workerProgram, board, asker, storeMemory,
            ] + passed)
            .filter {
                $0 >= 0
            }
    }

    /// The variables from which the next program learns about ``metricsListeners``.
    var metricsVariables: [(name: String, value: String)] {
        if metricsListeners.isEmpty { return [] }
        return [(Self.metricsVariable, metricsListeners.map(String.init).joined(separator: ","))]
    }

    /// Takes over the metrics listeners that the previous program has named, if they really listen.
    mutating func takeMetricsListeners() {
        let text = CurrentProcess.environment(Self.metricsVariable) ?? ""
        metricsListeners = text.split(separator: ",").compactMap { Int32($0) }.filter { Listener.isListening($0) }
    }

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
        guard startOnly.isWhole, (1...ShardMap.largestShardCount).contains(workers.count) else { throw .unknownValue }
        try reader.finish()
    }

    mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
        try coder.code(&program)
        try coder.code(&path)
        try coder.code(&previous)
        try coder.code(&workerProgram)
        try coder.code(&startOnly)
        try coder.code(&arenaVersion)
        try coder.code(&mapGeneration)
        try coder.code(&startedAt)
        try coder.code(&clientListeners)
        try coder.code(&apiListeners)
        try coder.code(&control)
        try coder.code(&clientAddress)
        try coder.code(&apiAddress)
        try coder.code(&ownedPaths)
        try coder.code(&board)
        try coder.code(&addressKey)
        try coder.code(&developmentSecret, limit: 65536)
        try coder.code(&asker)
        try coder.code(&keepers)
        try coder.code(&switchboard, limit: Self.largest)
        try coder.code(&storeMemory)
        try coder.code(&storedNames)
        try coder.code(&workers, ofAtLeast: 32, blank: Worker())
    }

    init(
        path: String,
        previous: Int32,
        workerProgram: Int32,
        startOnly: StartOnly,
        mapGeneration: UInt32,
        startedAt: UInt64,
        listeners: Listeners,
        board: Board,
        developmentSecret: [UInt8],
        asker: Int32,
        keepers: [Int32],
        switchboard: [UInt8],
        store: DescriptorStore?
    ) {
        self.path = path
        self.previous = previous
        self.workerProgram = workerProgram
        self.startOnly = startOnly
        self.mapGeneration = mapGeneration
        self.startedAt = startedAt
        clientListeners = listeners.client
        apiListeners = listeners.api
        metricsListeners = listeners.metrics
        control = listeners.control
        clientAddress = listeners.clientAddress
        apiAddress = listeners.apiAddress
        ownedPaths = listeners.ownedPaths
        self.board = board.memory.number
        addressKey = board.addressKey
        self.developmentSecret = developmentSecret
        self.asker = asker
        self.keepers = keepers
        self.switchboard = switchboard
        storeMemory = store?.memory.number ?? -1
        storedNames = store?.names ?? []
    }
}

extension SupervisorState.Worker: Record {
    mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
        try coder.code(&generation)
        try coder.code(&pid)
        try coder.code(&keeperPid)
        try coder.code(&link)
        try coder.code(&post)
        try coder.code(&arena)
        try coder.code(&keeper)
        try coder.code(&tether)
        try coder.code(&postState)
        try coder.code(&reported)
        try coder.code(&ledger)
        try coder.code(&unread, limit: SupervisorState.largest)
        try coder.code(&unsent, limit: SupervisorState.largest)
    }
}

extension DescriptorChannel.Saved: Record {
    mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
        var numbers = [window.size, window.available, window.received, owed].map { UInt32(clamping: $0) }
        for index in numbers.indices { try coder.code(&numbers[index]) }
        window = CreditWindow(size: Int(numbers[0]), available: Int(numbers[1]), received: Int(numbers[2]))
        owed = Int(numbers[3])
        try coder.code(&waiting, ofAtLeast: 8, blank: DescriptorChannel.Packet(bytes: [], descriptor: nil))
    }
}

extension DescriptorChannel.Packet: Record {
    mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
        var (bytes, descriptor) = (bytes, descriptor ?? -1)
        try coder.code(&bytes, limit: DescriptorChannel.largestPacket)
        try coder.code(&descriptor)
        self = DescriptorChannel.Packet(bytes: bytes, descriptor: descriptor < 0 ? nil : descriptor)
    }
}
