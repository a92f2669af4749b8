/// What a worker does with the descriptors that it may have (`ulimit -n`, getrlimit(2)): so many for each purpose, so that
/// clients never take what backends, clients on their way to other workers, and the next worker need.
package struct DescriptorBudget: Equatable, Sendable {
    /// What every worker has (listeners, memory, sockets to the supervisor), and what an heir needs besides while it takes
    /// over.
    private static let base = 96
    /// Connections of those who read the metrics.
    package static let metrics = 16

    /// All that there are.
    package let limit: Int
    /// Clients that other workers pass on and that are under way to us.
    package let passing: Int
    /// Connections that speak HTTP, on each kind of listener.
    package let http: Int
    /// Clients' WebSockets: as many as the worker after us can take over.
    package let sockets: Int

    /// * `limit`: the most descriptors that the process may have.
    /// * `http`: the most HTTP connections that the configuration allows on each kind of listener.
    package init(limit: Int, http: Int) {
        self.limit = limit
        passing = max(8, min(1024, limit / 8))
        self.http = max(8, min(http, limit / 16))
        sockets = max(8, limit - Self.base - passing - 2 * self.http - Self.metrics)
    }
}
