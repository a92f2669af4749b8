// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// The contract between supervisor and worker: everything that a worker gets when it starts.
///
/// A worker reads no files and no environment. It finds these descriptors open, and reads the contract from a sealed
/// memfd. Its listeners follow: first those for clients, then those for the API, then those for the metrics.
package struct BirthContract: Record, Equatable, Sendable {
    /// Descriptor numbers in the worker.
    package enum Descriptor {
        /// SOCK_STREAM: frames (``PeerStream``) to and from the supervisor.
        ///
        /// End of file means that this supervisor is gone.
        package static let link: Int32 = 3
        /// SOCK_SEQPACKET: clients' sockets, each with an ``AdoptionTicket``.
        package static let post: Int32 = 4
        /// The shard's memory (``ArenaLayout``).
        package static let arena: Int32 = 5
        /// This contract.
        package static let contract: Int32 = 6
        /// What all shards share (``NodeBoard``).
        package static let board: Int32 = 7
        /// The keeper's end of the channel to the worker that inherits from us.
        package static let keeper: Int32 = 8
        /// SOCK_SEQPACKET: by this the next supervisor finds us, and gives us a new link and a new post.
        ///
        /// End of file means that there will be no next supervisor.
        package static let tether: Int32 = 9
        /// The channel on which the previous worker's keeper hands out its sockets, if the contract says there is one.
        package static let estate: Int32 = 10
        /// The board of the old workers, if a new set of workers takes over from them.
        ///
        /// Two descriptors follow for each old worker: its arena, and the channel of its keeper.
        package static let sourceBoard: Int32 = 10
    }

    /// The only argument of a worker that was started by its supervisor.
    package static let argument = "--born"
    /// The exit code of a worker when another attempt would end the same way (sysexits.h: EX_CONFIG).
    package static let exitCodeOfBadConfiguration: Int32 = 78
    /// The largest size of the contract's memfd.
    package static let largestContract = 2_097_152
    /// The only argument of a worker that is asked what it is: it writes ``identity`` to descriptor 3, and exits.
    package static let identifyArgument = "--identify"
    /// The identity that a supervisor of this build expects of its workers.
    package static let identity =
        "martlet-worker \(Martlet.version) contract \(version) arena \(ArenaLayout.version)"
    package static let version: UInt8 = 10

    package var shard: UInt16 = 0
    package var generation: UInt32 = 0
    package var shardCount: UInt16 = 0
    package var mapGeneration: UInt32 = 0
    package var clientListeners: UInt8 = 0
    package var apiListeners: UInt8 = 0
    package var metricsListeners: UInt8 = 0
    /// Whether the arena and the sockets are the previous worker's, to be taken over when the supervisor says so.
    package var inherits: Bool = false
    /// How many old workers there are, with another number of shards, from which we take the connections of our users.
    package var sources: UInt8 = 0
    /// Whether previous workers ended again and again: then what one was handling when it ended is not tried again.
    package var isUnstable: Bool = false
    package var isDevelopment: Bool = false
    package var client = Client()
    package var api = API()
    package var limits = Limits()
    package var auth = Secrets()
    package var timing = Timing()
    /// The key of the hash by which addresses are counted: all workers of the node have the same, and nobody else.
    package var addressKey: UInt64 = 0
    /// How many bytes may wait for the supervisor.
    package var linkBytes: UInt32 = 0
    /// The priority of the log, as in syslog(3): less urgent lines are not written.
    package var logPriority: UInt8 = 0

    /// The number of the first listening socket.
    package var firstListener: Int32 {
        let first = inherits ? Descriptor.estate + 1 : Descriptor.estate
        return sources == 0 ? first : first + 1 + 2 * Int32(sources)
    }

    /// Returns the descriptors of a source: its arena, and its keeper's channel.
    package func source(_ number: Int) -> (arena: Int32, estate: Int32) {
        let first = Descriptor.sourceBoard + 1 + 2 * Int32(number)
        return (first, first + 1)
    }

    package var map: ShardMap { ShardMap(shardCount: Int(shardCount), generation: mapGeneration) }

    /// Makes the contract for a shard under this configuration.
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
        writer.put(self)
        return writer.bytes
    }

    package init(_ bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt8.self) == Self.version else { throw .wrongVersion }
        try code(&reader)
        try reader.finish()
        guard (1...UInt16(ShardMap.largestShardCount)).contains(shardCount), shard < shardCount else {
            throw .unknownValue
        }
    }

    package mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
        try coder.code(&shard)
        try coder.code(&generation)
        try coder.code(&shardCount)
        try coder.code(&mapGeneration)
        try coder.code(&clientListeners)
        try coder.code(&apiListeners)
        try coder.code(&metricsListeners)
        try coder.code(&inherits)
        try coder.code(&sources)
        try coder.code(&isUnstable)
        try coder.code(&isDevelopment)
        try coder.code(&client)
        try coder.code(&api)
        try coder.code(&limits)
        try coder.code(&auth)
        try coder.code(&timing)
        try coder.code(&addressKey)
        try coder.code(&linkBytes)
        try coder.code(&logPriority)
    }
}

extension Configuration.Log.Level {
    /// The level as a priority of syslog(3).
    package var priority: UInt8 {
        switch self {
        case .debug: 7
        case .info: 6
        case .warning: 4
        case .error: 3
        }
    }
}
