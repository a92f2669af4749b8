internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// Everything that the supervisor's next program needs to go on where this one stops.
///
/// It is in a sealed memfd, and the descriptors that it names stay open.
struct SupervisorState {
    /// A worker, as its supervisor knows it.
    struct Worker {
        var generation: UInt32
        var pid: Int32
        var keeperPid: Int32
        var link: Int32
        var post: Int32
        var postState: DescriptorChannel.Saved
        var arena: Int32
        var keeper: Int32
        var tether: Int32
        /// What it reported last, with its last restart; counters of previous workers are in `ledger`.
        var reported: ShardStatistics
        var ledger: ShardStatistics
        var unread: [UInt8]
        var unsent: [UInt8]
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
    var path: String
    /// The descriptor of the program that wrote this, in case the next one cannot go on.
    var previous: Int32
    /// The descriptor of that program's worker program.
    var workerProgram: Int32
    var startOnly: StartOnly
    /// The layout of the shards' memory, which the next workers must be able to read.
    var arenaVersion = ArenaLayout.version
    var mapGeneration: UInt32
    var startedAt: UInt64
    var clientListeners: [Int32]
    var apiListeners: [Int32]
    /// The listening sockets of the metrics, which are not part of ``bytes``.
    private(set) var metricsListeners: [Int32] = []
    var control: Int32
    var clientAddress: String
    var apiAddress: String
    var ownedPaths: [String]
    var board: Int32
    var addressKey: UInt64
    /// A secret that was generated for this run; empty: none.
    var developmentSecret: [UInt8]
    /// The connection of whoever asked for the upgrade and waits for the answer; -1: nobody.
    var asker: Int32
    /// The memory that the service manager keeps for us; -1: none.
    var storeMemory: Int32
    var storedNames: [String]
    /// The workers, in the order of their shards.
    var workers: [Worker] = []
    /// Keepers that have not ended.
    var keepers: [Int32]
    var switchboard: [UInt8]

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

    var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(program)
        writer.put(path)
        writer.put(previous)
        writer.put(workerProgram)
        startOnly.write(to: &writer)
        writer.put(arenaVersion)
        writer.put(mapGeneration)
        writer.put(startedAt)
        writer.put(numbers: clientListeners)
        writer.put(numbers: apiListeners)
        writer.put(control)
        writer.put(clientAddress)
        writer.put(apiAddress)
        writer.put(ownedPaths)
        writer.put(board)
        writer.put(addressKey)
        writer.put(developmentSecret)
        writer.put(asker)
        writer.put(numbers: keepers)
        writer.put(switchboard)
        writer.put(storeMemory)
        writer.put(storedNames)
        writer.put(UInt32(workers.count))
        for worker in workers { worker.write(to: &writer) }
        return writer.bytes
    }

    init(_ bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt16.self) == Self.version else { throw .wrongVersion }
        program = try reader.text()
        path = try reader.text()
        previous = try reader.integer()
        workerProgram = try reader.integer()
        startOnly = try StartOnly(&reader)
        arenaVersion = try reader.integer()
        mapGeneration = try reader.integer()
        startedAt = try reader.integer()
        clientListeners = try reader.numbers()
        apiListeners = try reader.numbers()
        control = try reader.integer()
        clientAddress = try reader.text()
        apiAddress = try reader.text()
        ownedPaths = try reader.texts()
        board = try reader.integer()
        addressKey = try reader.integer()
        developmentSecret = try reader.raw(limit: 65536)
        asker = try reader.integer()
        keepers = try reader.numbers()
        switchboard = try reader.raw(limit: Self.largest)
        storeMemory = try reader.integer()
        storedNames = try reader.texts()
        for _ in 0..<(try reader.count(ofAtLeast: 32)) { workers.append(try Worker(&reader)) }
        guard (1...ShardMap.largestShardCount).contains(workers.count) else { throw .unknownValue }
        try reader.finish()
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

extension SupervisorState.Worker {
    fileprivate func write(to writer: inout ByteWriter) {
        writer.put(generation)
        for number in [pid, keeperPid, link, post, arena, keeper, tether] { writer.put(number) }
        writer.put(UInt32(postState.window.size))
        writer.put(UInt32(postState.window.available))
        writer.put(UInt32(postState.window.received))
        writer.put(UInt32(postState.owed))
        writer.put(UInt32(postState.waiting.count))
        for packet in postState.waiting {
            writer.put(packet.bytes)
            writer.put(packet.descriptor ?? -1)
        }
        writer.put(reported)
        writer.put(ledger)
        writer.put(unread)
        writer.put(unsent)
    }

    fileprivate init(_ reader: inout ByteReader) throws(WireError) {
        generation = try reader.integer()
        pid = try reader.integer()
        keeperPid = try reader.integer()
        link = try reader.integer()
        post = try reader.integer()
        arena = try reader.integer()
        keeper = try reader.integer()
        tether = try reader.integer()
        let size = Int(try reader.integer(UInt32.self))
        let available = Int(try reader.integer(UInt32.self))
        let received = Int(try reader.integer(UInt32.self))
        let owed = Int(try reader.integer(UInt32.self))
        var waiting: [DescriptorChannel.Packet] = []
        for _ in 0..<(try reader.count(ofAtLeast: 8)) {
            let bytes = try reader.raw(limit: DescriptorChannel.largestPacket)
            let descriptor: Int32 = try reader.integer()
            waiting.append(.init(bytes: bytes, descriptor: descriptor < 0 ? nil : descriptor))
        }
        let window = CreditWindow(size: size, available: available, received: received)
        postState = DescriptorChannel.Saved(window: window, owed: owed, waiting: waiting)
        reported = try reader.shardStatistics()
        ledger = try reader.shardStatistics()
        unread = try reader.raw(limit: SupervisorState.largest)
        unsent = try reader.raw(limit: SupervisorState.largest)
    }
}

extension ByteWriter {
    fileprivate mutating func put(numbers: [Int32]) {
        put(UInt32(numbers.count))
        for number in numbers { put(number) }
    }
}

extension ByteReader {
    fileprivate mutating func numbers() throws(WireError) -> [Int32] {
        var numbers: [Int32] = []
        for _ in 0..<(try count(ofAtLeast: 4)) { numbers.append(try integer()) }
        return numbers
    }
}
