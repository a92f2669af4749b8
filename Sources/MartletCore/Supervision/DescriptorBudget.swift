// SPDX-License-Identifier: Apache-2.0

/// How a worker divides the descriptors that it may have (`ulimit -n`, getrlimit(2)) between its purposes, so that
/// clients never take those that backends, clients on their way to other workers, and the next worker need.
package struct DescriptorBudget: Equatable, Sendable {
    /// What every worker needs (listeners, memory, sockets to the supervisor), and what an heir needs to take over.
    private static let base = 96
    /// Connections of programs that read the metrics.
    package static let metrics = 16

    /// The number of all descriptors.
    package let limit: Int
    /// Clients that other workers have passed on to us and that have not arrived yet.
    package let passing: Int
    /// Connections that speak HTTP, on each kind of listener.
    package let http: Int
    /// Clients' WebSockets: as many as the next worker can take over.
    package let sockets: Int

    /// Divides a number of descriptors.
    ///
    /// - Parameters:
    ///   - limit: The most descriptors that the process may have.
    ///   - http: The most HTTP connections that the configuration allows on each kind of listener.
    package init(limit: Int, http: Int) {
        self.limit = limit
        passing = Self.window(limit / 8)
        self.http = max(8, min(http, limit / 16))
        sockets = max(8, limit - Self.base - passing - 2 * self.http - Self.metrics)
    }
    /// Returns how many clients may be on their way, or wait, where so many descriptors are set aside for them.
    package static func window(_ share: Int) -> Int { max(8, min(1024, share)) }
}
