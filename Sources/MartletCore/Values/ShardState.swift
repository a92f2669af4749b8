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
