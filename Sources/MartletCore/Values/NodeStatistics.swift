// SPDX-License-Identifier: Apache-2.0

/// What the supervisor knows about its own process, and the limits in force.
package struct SupervisorStatistics: Equatable, Sendable {
    package var cpuNanoseconds: UInt64
    package var residentBytes: Int
    package var openDescriptors: Int
    package var descriptorLimit: Int
    /// When it started: UTC, in milliseconds since 1970.
    package var startedAt: Int64
    /// The keys of the configuration that are limits, and their values; 0: no limit.
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

/// The statistics of the whole node.
///
/// The totals are computed from the shards, so that the sums always agree.
package struct NodeStatistics: Equatable, Sendable {
    package var shards: [ShardStatistics]
    package var uptimeNanoseconds: UInt64
    /// Rooms that have members anywhere, each counted once.
    package var threads: Int
    package var jobs: Int
    /// Requests that the switchboard refused, or that no shard answered in time.
    package var switchboardRefused = 0
    /// Publishes for several shards that the switchboard answered from the record of their keys.
    package var switchboardRepeated = 0
    /// Requests that were routed with an older ``ShardMap``, and sent on to the shards where their users are now.
    package var switchboardRerouted = 0
    /// What the supervisor says about itself; nil if its version does not report this yet.
    package var supervisor: SupervisorStatistics?

    package init(shards: [ShardStatistics], uptimeNanoseconds: UInt64, threads: Int = 0, jobs: Int = 0) {
        self.shards = shards
        self.uptimeNanoseconds = uptimeNanoseconds
        self.threads = threads
        self.jobs = jobs
    }

    package var totalConnections: Int { shards.reduce(0) { $0 + $1.connections } }

    /// The number of users: each lives on one shard, so the shards' numbers can be added up.
    package var uniqueUsers: Int { shards.reduce(0) { $0 + $1.users } }

    package var counters: Counters {
        shards.reduce(into: Counters()) { $0.merge($1.counters) }
    }

    /// How many connections each user has; nil if some shard was not asked for this.
    package var connectionsByUser: [ExactText: Int]? {
        var merged: [ExactText: Int] = [:]
        for shard in shards {
            guard let counts = shard.connectionsByUser else { return nil }
            merged.merge(counts) { $0 + $1 }
        }
        return merged
    }
}
