package import MartletCore

/// Everything that a worker is born with: the contract between supervisor and worker, on one page.
///
/// A worker reads no file and no environment. It finds these descriptors open, and reads the contract from a sealed memfd.
/// Its listeners follow: those of clients, then those of the API, then those of the metrics.
package struct BirthContract: Equatable, Sendable {
    /// Descriptor numbers in the worker.
    package enum Descriptor {
        /// SOCK_STREAM: words (``PeerStream``) to and from the supervisor.
        ///
        /// Its end of file means: this supervisor is gone.
        package static let link: Int32 = 3
        /// SOCK_SEQPACKET: clients' sockets, each with an ``AdoptionTicket``.
        package static let post: Int32 = 4
        /// The shard's memory (``ArenaLayout``).
        package static let arena: Int32 = 5
        /// This contract.
        package static let contract: Int32 = 6
        /// What all shards share (``NodeBoard``).
        package static let board: Int32 = 7
        /// The keeper's end of the channel to whoever inherits from us.
        package static let keeper: Int32 = 8
        /// SOCK_SEQPACKET: by which the next supervisor finds us, and gives us a new link and a new post.
        ///
        /// Its end of file means: there will be none.
        package static let tether: Int32 = 9
        /// Where the keeper of the worker before us hands out its sockets; only where the contract says that there is one.
        package static let estate: Int32 = 10
        /// The board of the workers that a new set of workers takes over from; only where there are such.
        ///
        /// For each of them two descriptors follow: its arena, and where its keeper hands out its sockets.
        package static let sourceBoard: Int32 = 10
    }

    /// The only argument of a worker that was started by its supervisor.
    package static let argument = "--born"
    /// What a worker exits with when another try would end the same way (sysexits.h: EX_CONFIG).
    package static let exitCodeOfBadConfiguration: Int32 = 78
    /// The contract's memfd is never larger.
    package static let largestContract = 2_097_152
    /// The only argument of a worker that is asked what it is: it writes ``identity`` to descriptor 3, and exits.
    package static let identifyArgument = "--identify"
    /// What a supervisor of this build expects of its workers.
    package static let identity =
        "martlet-worker \(Martlet.version) contract \(version) arena \(ArenaLayout.version)"
    private static let version: UInt8 = 8

    package var shard: UInt16
    package var generation: UInt32
    package var shardCount: UInt16
    package var mapGeneration: UInt32
    package var clientListeners: UInt8
    package var apiListeners: UInt8
    package var metricsListeners: UInt8
    /// The arena and the sockets are those of the worker before, to be taken over when the supervisor says so.
    package var inherits: Bool
    /// Workers of another number of shards, of whose connections we take those of our users.
    package var sources: UInt8
    /// The workers before us ended again and again: what one was handling when it ended is not tried a second time.
    package var isUnstable: Bool
    package var isDevelopment: Bool
    package var client: Client
    package var api: API
    package var limits: Limits
    package var auth: Secrets
    package var timing: Timing
    /// Keys the numbers by which addresses are counted; the same for all workers of the node, and nobody else's.
    package var addressKey: UInt64
    /// Bytes that may wait for the supervisor.
    package var linkBytes: UInt32
    /// As in syslog(3): lines that are less urgent are not written.
    package var logPriority: UInt8

    /// The number of the first listening socket.
    package var firstListener: Int32 {
        let first = inherits ? Descriptor.estate + 1 : Descriptor.estate
        return sources == 0 ? first : first + 1 + 2 * Int32(sources)
    }

    /// Where to find what a source has: its arena, and its keeper's channel.
    package func source(_ number: Int) -> (arena: Int32, estate: Int32) {
        let first = Descriptor.sourceBoard + 1 + 2 * Int32(number)
        return (first, first + 1)
    }

    package var map: ShardMap { ShardMap(shardCount: Int(shardCount), generation: mapGeneration) }

    /// The contract of a shard under this configuration.
    package init(
        shard: Int,
        generation: UInt32,
        map: ShardMap,
        clientListeners: Int,
        apiListeners: Int,
        metricsListeners: Int = 0,
        inherits: Bool = false,
        sources: Int = 0,
        isUnstable: Bool = false,
        configuration: Configuration,
        secrets: Secrets,
        addressKey: UInt64
    ) {
        self.shard = UInt16(shard)
        self.generation = generation
        shardCount = UInt16(map.shardCount)
        mapGeneration = map.generation
        self.clientListeners = UInt8(clientListeners)
        self.apiListeners = UInt8(apiListeners)
        self.metricsListeners = UInt8(metricsListeners)
        self.inherits = inherits
        self.sources = UInt8(sources)
        self.isUnstable = isUnstable
        isDevelopment = configuration.isDevelopment
        client = Client(configuration.client)
        api = API(configuration)
        limits = Limits(configuration.limits)
        auth = secrets
        timing = Timing(configuration)
        self.addressKey = addressKey
        linkBytes = UInt32(clamping: configuration.supervision.holdBytes)
        logPriority = configuration.log.level.priority
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(shard)
        writer.put(generation)
        writer.put(shardCount)
        writer.put(mapGeneration)
        writer.put(clientListeners)
        writer.put(apiListeners)
        writer.put(metricsListeners)
        writer.put(inherits)
        writer.put(sources)
        writer.put(isUnstable)
        writer.put(isDevelopment)
        client.write(to: &writer)
        api.write(to: &writer)
        limits.write(to: &writer)
        auth.write(to: &writer)
        timing.write(to: &writer)
        writer.put(addressKey)
        writer.put(linkBytes)
        writer.put(logPriority)
        return writer.bytes
    }

    package init(_ bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt8.self) == Self.version else { throw .wrongVersion }
        shard = try reader.integer()
        generation = try reader.integer()
        shardCount = try reader.integer()
        mapGeneration = try reader.integer()
        clientListeners = try reader.integer()
        apiListeners = try reader.integer()
        metricsListeners = try reader.integer()
        inherits = try reader.flag()
        sources = try reader.integer()
        isUnstable = try reader.flag()
        isDevelopment = try reader.flag()
        client = try Client(&reader)
        api = try API(&reader)
        limits = try Limits(&reader)
        auth = try Secrets(&reader)
        timing = try Timing(&reader)
        addressKey = try reader.integer()
        linkBytes = try reader.integer()
        logPriority = try reader.integer()
        try reader.finish()
        guard (1...UInt16(ShardMap.largestShardCount)).contains(shardCount), shard < shardCount else {
            throw .unknownValue
        }
    }
}

extension Configuration.Log.Level {
    /// As in syslog(3).
    package var priority: UInt8 {
        switch self {
        case .debug: 7
        case .info: 6
        case .warning: 4
        case .error: 3
        }
    }
}
