package import MartletCore

/// Everything that a worker is born with: the contract between supervisor and worker, on one page.
///
/// A worker reads no file and no environment. It finds these descriptors open, and reads the contract from the last of
/// the fixed ones, a sealed memfd. Its listeners follow, first the client listeners, then the API listeners.
package struct BirthContract: Equatable, Sendable {
    /// Descriptor numbers in the worker.
    package enum Descriptor {
        /// SOCK_STREAM: words (``PeerStream``) to and from the supervisor.
        ///
        /// Its end of file means: the supervisor is gone.
        package static let link: Int32 = 3
        /// SOCK_SEQPACKET: clients' sockets, each with an ``AdoptionTicket``.
        package static let post: Int32 = 4
        /// The shard's memory (``ArenaLayout``).
        package static let arena: Int32 = 5
        /// This contract.
        package static let contract: Int32 = 6
        package static let firstListener: Int32 = 7
    }

    /// The only argument of a worker that was started by its supervisor.
    package static let argument = "--born"
    /// The contract's memfd is never larger.
    package static let largestContract = 65536
    private static let version: UInt8 = 1

    package var shard: UInt16
    package var generation: UInt32
    package var shardCount: UInt16
    package var mapGeneration: UInt32
    package var clientListeners: UInt8
    package var apiListeners: UInt8
    package var isDevelopment: Bool
    package var clientPath: String
    package var maxMessageBytes: UInt32
    package var maxBodyBytes: UInt32
    package var queueBytes: UInt32
    /// The share of the node's connections that this shard may hold.
    package var connections: UInt32
    /// Bytes that may wait for the supervisor.
    package var linkBytes: UInt32
    package var handshakeTimeout: UInt64
    package var heartbeatInterval: UInt64
    package var livenessInterval: UInt64
    /// How long clients get to answer a close frame when the worker stops.
    package var stopTimeout: UInt64

    /// The contract of a shard under this configuration.
    package init(
        shard: Int,
        generation: UInt32,
        map: ShardMap,
        clientListeners: Int,
        apiListeners: Int,
        configuration: Configuration
    ) {
        self.shard = UInt16(shard)
        self.generation = generation
        shardCount = UInt16(map.shardCount)
        mapGeneration = map.generation
        self.clientListeners = UInt8(clientListeners)
        self.apiListeners = UInt8(apiListeners)
        isDevelopment = configuration.isDevelopment
        clientPath = configuration.client.path
        maxMessageBytes = UInt32(configuration.client.maxMessageBytes)
        maxBodyBytes = UInt32(configuration.api.maxBodyBytes)
        queueBytes = UInt32(configuration.client.queueBytes)
        connections = UInt32(configuration.limits.connections)
        linkBytes = UInt32(clamping: configuration.supervision.holdBytes)
        handshakeTimeout = configuration.client.handshakeTimeout.nanoseconds
        heartbeatInterval = configuration.client.heartbeatInterval.nanoseconds
        livenessInterval = configuration.supervision.livenessInterval.nanoseconds
        stopTimeout = configuration.supervision.handoverTimeout.nanoseconds / 2
    }

    package var map: ShardMap { ShardMap(shardCount: Int(shardCount), generation: mapGeneration) }

    package var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(shard)
        writer.put(generation)
        writer.put(shardCount)
        writer.put(mapGeneration)
        writer.put(clientListeners)
        writer.put(apiListeners)
        writer.put(isDevelopment)
        writer.put(clientPath)
        for number in [maxMessageBytes, maxBodyBytes, queueBytes, connections, linkBytes] { writer.put(number) }
        for number in [handshakeTimeout, heartbeatInterval, livenessInterval, stopTimeout] { writer.put(number) }
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
        isDevelopment = try reader.flag()
        clientPath = try reader.text()
        maxMessageBytes = try reader.integer()
        maxBodyBytes = try reader.integer()
        queueBytes = try reader.integer()
        connections = try reader.integer()
        linkBytes = try reader.integer()
        handshakeTimeout = try reader.integer()
        heartbeatInterval = try reader.integer()
        livenessInterval = try reader.integer()
        stopTimeout = try reader.integer()
        try reader.finish()
        guard (1...UInt16(ShardMap.largestShardCount)).contains(shardCount), shard < shardCount else {
            throw .unknownValue
        }
    }
}
