// SPDX-License-Identifier: Apache-2.0

/// What a manager knows about its shard.
package struct ManagerStatistics: Equatable, Sendable {
    package var connections: Int
    package var users: Int
    /// Rooms with members on this shard.
    package var threads: Int
    package var jobs: Int
    package var counters: Counters
    /// How many connections each user has; only if this was asked for.
    package var connectionsByUser: [ExactText: Int]?
}
