/// What a backend or an operator asks of the shards.
///
/// The text of a publish travels beside it, as opaque bytes.
package enum Command: Equatable, Sendable {
    case sendToUser(String)
    case sendToConnection(ConnectionID)
    case sendToRoom(Room)
    case broadcast(excluding: [String])
    case listConnections(user: String)
    case describe(ConnectionID)
    case disconnectUser(String, code: UInt16, reason: String)
    case disconnectConnection(ConnectionID, code: UInt16, reason: String)
    case bind(user: String, thread: String)
    case unbind(user: String, thread: String)
    case statistics(byUser: Bool)
    /// Publishes of one batch for one shard, in order; they lie in the text (``BatchCoding``).
    case batch
    /// Any shard can make and check tokens.
    case makeToken(user: String, seconds: Int, threads: [String], jobs: [String])
    case checkToken(String)

    /// True where a message body belongs to the command.
    package var carriesText: Bool {
        switch self {
        case .sendToUser, .sendToConnection, .sendToRoom, .broadcast, .batch: true
        default: false
        }
    }

    /// True for what delivers a message to connections.
    package var isPublish: Bool { carriesText && self != .batch }

    /// True for a publish that several shards may carry out.
    package var isSpread: Bool {
        switch self {
        case .sendToRoom, .broadcast: true
        default: false
        }
    }

    /// Where a command must go.
    package func destination(in map: ShardMap) -> Destination {
        switch self {
        case .sendToUser(let user), .listConnections(let user), .disconnectUser(let user, _, _):
            .shard(map.shard(ofUser: user))
        case .bind(let user, _), .unbind(let user, _): .shard(map.shard(ofUser: user))
        case .sendToConnection(let id), .describe(let id), .disconnectConnection(let id, _, _):
            map.shard(of: id).map(Destination.shard) ?? .nobody
        case .sendToRoom: .room
        case .broadcast, .statistics: .everyShard
        case .batch, .makeToken, .checkToken: .anyShard
        }
    }

    package enum Destination: Equatable, Sendable {
        case shard(Int)
        case everyShard
        /// Where the room has members, which the switchboard knows.
        case room
        /// Whichever is asked.
        case anyShard
        /// The address can belong to nobody; the answer is known.
        case nobody
    }

    /// The answer where nobody is addressed.
    package var replyOfNobody: CommandReply {
        switch self {
        case .sendToUser, .sendToConnection, .sendToRoom, .broadcast: .receipt(Delivery())
        case .listConnections: .connections([])
        case .describe: .failed(.unknownConnection)
        case .disconnectUser, .disconnectConnection: .closed(0)
        case .bind, .unbind: .bound(false)
        case .statistics: .node(NodeStatistics(shards: [], uptimeNanoseconds: 0))
        case .batch, .makeToken, .checkToken: .failed(.malformed)
        }
    }
}
