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
