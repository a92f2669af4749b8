/// What a manager knows of its shard.
package struct ManagerStatistics: Equatable, Sendable {
    package var connections: Int
    package var users: Int
    /// Rooms with members on this shard.
    package var threads: Int
    package var jobs: Int
    package var counters: Counters
    /// Only where it was asked for.
    package var connectionsByUser: [ExactText: Int]?
}

/// What the supervisor thinks of a shard.
package enum ShardState: UInt8, Sendable {
    /// Its worker was started and has not said `ready`.
    case starting
    case serving
    case stopping
    /// Its worker has ended, and the next one waits for its time.
    case down
    /// Its worker has ended, and the next one is taking over its connections: requests are held for it.
    case recovering

    package var name: String {
        switch self {
        case .starting: "starting"
        case .serving: "serving"
        case .stopping: "stopping"
        case .down: "down"
        case .recovering: "recovering"
        }
    }

    /// True where requests are accepted: carried out at once, or held for a moment.
    package var takesRequests: Bool { self == .serving || self == .recovering }
}

/// What a worker reports of itself, and what the supervisor adds.
package struct ShardStatistics: Equatable, Sendable {
    package var shard = 0
    package var pid: Int32 = 0
    package var generation: UInt32 = 0
    package var state = ShardState.starting
    package var connections = 0
    package var users = 0
    /// Rooms with members on this shard; one whose members live on several shards is counted by each.
    package var threads = 0
    package var jobs = 0
    package var counters = Counters()
    /// Connections that speak HTTP now: backends, and clients before their upgrade.
    package var httpConnections = 0
    /// Bytes that wait in the queues of connections.
    package var queueBytes = 0
    /// Slots of the arena that are in use, open or closing.
    package var slotsInUse = 0
    package var residentBytes = 0
    package var cpuNanoseconds: UInt64 = 0
    /// Bytes of the shard's memory that hold frames, identities and what came in part.
    package var arenaBytes = 0
    /// Descriptors that its worker has open, a few seconds ago, and may have at most.
    package var openDescriptors = 0
    package var descriptorLimit = 0
    package var restarts = 0
    /// Why the last worker of this shard ended.
    package var lastEnd: String?
    /// What the next one made of its connections; nil until it has taken over.
    package var lastRestart: Restart?
    package var connectionsByUser: [ExactText: Int]?

    package init() {}
}

/// How a shard came through the end of a worker.
package struct Restart: Equatable, Sendable {
    /// UTC, in milliseconds since 1970.
    package var at: Int64
    package var kept = 0
    package var lost = 0
    /// From the worker's end to the moment the next one served.
    package var pauseMilliseconds = 0
    /// Connections of which the kernel had moved bytes that the worker had not recorded when it ended.
    package var unrecorded = 0

    package init(at: Int64) {
        self.at = at
    }
}

/// What the supervisor knows of its own process, and what is in force.
package struct SupervisorStatistics: Equatable, Sendable {
    package var cpuNanoseconds: UInt64
    package var residentBytes: Int
    package var openDescriptors: Int
    package var descriptorLimit: Int
    /// UTC, in milliseconds since 1970.
    package var startedAt: Int64
    /// Keys of the configuration that are bounds, and their values; 0: no bound.
    package var limits: [Limit]

    package struct Limit: Equatable, Sendable {
        package var key: String
        package var value: Int

        package init(key: String, value: Int) {
            self.key = key
            self.value = value
        }
    }

    package init(
        cpuNanoseconds: UInt64,
        residentBytes: Int,
        openDescriptors: Int,
        descriptorLimit: Int,
        startedAt: Int64,
        limits: [Limit]
    ) {
        self.cpuNanoseconds = cpuNanoseconds
        self.residentBytes = residentBytes
        self.openDescriptors = openDescriptors
        self.descriptorLimit = descriptorLimit
        self.startedAt = startedAt
        self.limits = limits
    }
}

/// The whole node.
///
/// The totals are computed from the shards, so the sums always agree.
package struct NodeStatistics: Equatable, Sendable {
    package var shards: [ShardStatistics]
    package var uptimeNanoseconds: UInt64
    /// Rooms that have members anywhere, each counted once.
    package var threads: Int
    package var jobs: Int
    /// Requests that the switchboard refused, or that no shard answered in time.
    package var switchboardRefused = 0
    /// Publishes for several shards that the switchboard answered by their keys.
    package var switchboardRepeated = 0
    /// Requests that were routed with an older ``ShardMap``, and sent on to where their users are now.
    package var switchboardRerouted = 0
    /// Nil where a supervisor from before there was such a thing has said this.
    package var supervisor: SupervisorStatistics?

    package init(shards: [ShardStatistics], uptimeNanoseconds: UInt64, threads: Int = 0, jobs: Int = 0) {
        self.shards = shards
        self.uptimeNanoseconds = uptimeNanoseconds
        self.threads = threads
        self.jobs = jobs
    }

    package var totalConnections: Int { shards.reduce(0) { $0 + $1.connections } }

    /// A user lives on one shard, so users can be added up.
    package var uniqueUsers: Int { shards.reduce(0) { $0 + $1.users } }

    package var counters: Counters {
        shards.reduce(into: Counters()) { $0.merge($1.counters) }
    }

    /// Nil where some shard was not asked for it.
    package var connectionsByUser: [ExactText: Int]? {
        var merged: [ExactText: Int] = [:]
        for shard in shards {
            guard let counts = shard.connectionsByUser else { return nil }
            merged.merge(counts) { $0 + $1 }
        }
        return merged
    }
}
