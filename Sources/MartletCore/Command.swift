/// What a backend or an operator asks of the shards.
///
/// The text of a publish travels beside it, as opaque bytes.
package enum Command: Equatable, Sendable {
    case sendToUser(String)
    case sendToConnection(ConnectionID)
    case broadcast(excluding: [String])
    case listConnections(user: String)
    case describe(ConnectionID)
    case disconnectUser(String, code: UInt16, reason: String)
    case disconnectConnection(ConnectionID, code: UInt16, reason: String)
    case statistics(byUser: Bool)

    /// True where a message body belongs to the command.
    package var carriesText: Bool {
        switch self {
        case .sendToUser, .sendToConnection, .broadcast: true
        default: false
        }
    }

    /// Where a command must go.
    package func destination(in map: ShardMap) -> Destination {
        switch self {
        case .sendToUser(let user), .listConnections(let user), .disconnectUser(let user, _, _):
            .shard(map.shard(ofUser: user))
        case .sendToConnection(let id), .describe(let id), .disconnectConnection(let id, _, _):
            map.shard(of: id).map(Destination.shard) ?? .nobody
        case .broadcast, .statistics:
            .everyShard
        }
    }

    package enum Destination: Equatable, Sendable {
        case shard(Int)
        case everyShard
        /// The address can belong to nobody; the answer is known.
        case nobody
    }

    /// The answer where nobody is addressed.
    package var replyOfNobody: CommandReply {
        switch self {
        case .sendToUser, .sendToConnection, .broadcast: .receipt(Delivery())
        case .listConnections: .connections([])
        case .describe: .failed(.unknownConnection)
        case .disconnectUser, .disconnectConnection: .closed(0)
        case .statistics: .node(NodeStatistics(shards: [], uptimeNanoseconds: 0))
        }
    }
}

/// One line of `GET /v1/users/{user}/connections`.
package struct ConnectionSummary: Equatable, Sendable {
    package var id: ConnectionID
    package var user: String
    package var shard: Int
    package var connectedAt: Int64
    package var thread: String?
    package var queuedBytes: Int

    package init(
        id: ConnectionID,
        user: String,
        shard: Int,
        connectedAt: Int64,
        thread: String?,
        queuedBytes: Int
    ) {
        self.id = id
        self.user = user
        self.shard = shard
        self.connectedAt = connectedAt
        self.thread = thread
        self.queuedBytes = queuedBytes
    }
}

/// The answer to a ``Command``.
package enum CommandReply: Equatable, Sendable {
    case receipt(Delivery)
    case connections([ConnectionSummary])
    case closed(Int)
    case shard(ShardStatistics)
    case node(NodeStatistics)
    case failed(CommandFailure)
}

/// Why a command was not, or not wholly, carried out.
///
/// Crosses processes as a code.
package enum CommandFailure: Equatable, Sendable {
    /// A shard that owns part of the address does not serve now; what the others did is in the receipt.
    case shardUnavailable(partial: Delivery?)
    /// A queue on the way is at its bound.
    case overloaded
    case messageTooLarge
    case unknownConnection
    /// The request could not be read: peers of different versions.
    case malformed
}
