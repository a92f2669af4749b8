// SPDX-License-Identifier: Apache-2.0

/// The state of a shard, as the supervisor knows it.
package enum ShardState: UInt8, Sendable {
    /// Its worker was started and has not said `ready` yet.
    case starting
    case serving
    case stopping
    /// Its worker has ended, and the next one is not started yet.
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

    /// True if requests are accepted: they are carried out at once, or held for a moment.
    package var takesRequests: Bool { self == .serving || self == .recovering }
}
