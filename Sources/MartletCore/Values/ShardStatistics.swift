// SPDX-License-Identifier: Apache-2.0

/// What a worker reports about itself, and what the supervisor adds.
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
    /// Connections that speak HTTP now: those of backends, and those of clients before their upgrade.
    package var httpConnections = 0
    /// Bytes that wait in the queues of connections.
    package var queueBytes = 0
    /// Slots of the arena that are in use, by connections that are open or closing.
    package var slotsInUse = 0
    /// Sessions that wait for their clients.
    package var sessionsWaiting = 0
    /// Bytes of the messages that sessions keep until they are confirmed; one that several keep counts several times.
    package var heldBytes = 0
    package var residentBytes = 0
    package var cpuNanoseconds: UInt64 = 0
    /// Bytes of the shard's memory that hold frames, identities and unfinished messages.
    package var arenaBytes = 0
    /// Descriptors that its worker had open a few seconds ago.
    package var openDescriptors = 0
    package var descriptorLimit = 0
    package var restarts = 0
    /// Why the last worker of this shard ended.
    package var lastEnd: String?
    /// How the connections came through the end of the last worker; nil until the next one has taken over.
    package var lastRestart: Restart?
    package var connectionsByUser: [ExactText: Int]?

    package init() {}
}

/// How a shard came through the end of a worker.
package struct Restart: Equatable, Sendable {
    /// When this was: UTC, in milliseconds since 1970.
    package var at: Int64
    package var kept = 0
    package var lost = 0
    /// From the worker's end to the moment the next one served.
    package var pauseMilliseconds = 0
    /// Connections for which the kernel had moved bytes that the worker had not recorded when it ended.
    package var unrecorded = 0

    /// The parts of the pause, in microseconds; 0: not known.
    ///
    /// Until the next worker may collect, because the old one freezes, or the next one starts; until it has the sockets;
    /// and until it serves.
    package var preparing = 0
    package var collecting = 0
    package var recovering = 0

    package init(at: Int64) {
        self.at = at
    }
}
