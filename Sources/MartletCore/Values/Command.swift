// SPDX-License-Identifier: Apache-2.0

/// What a backend or an operator asks of the shards.
///
/// The text of a publish travels beside the command, as opaque bytes.
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
    /// The publishes of one batch that are for one shard, in order; the text holds them (``BatchCoding``).
    case batch
    /// Makes a token, as any shard can.
    case makeToken(user: String, seconds: Int, threads: [String], jobs: [String])
    case checkToken(String)
    /// Messages of a client that has no socket to write to, or the end of its session.
    case fromClient(ClientPost)

    /// True if the command has a message body.
    package var carriesText: Bool {
        switch self {
        case .sendToUser, .sendToConnection, .sendToRoom, .broadcast, .batch, .fromClient: true
        default: false
        }
    }

    /// True for a command that delivers a message to connections.
    package var isPublish: Bool {
        switch self {
        case .sendToUser, .sendToConnection, .sendToRoom, .broadcast: true
        default: false
        }
    }

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
        case .fromClient(let post): .shard(map.shard(ofUser: post.user))
        case .sendToRoom: .room
        case .broadcast, .statistics: .everyShard
        case .batch, .makeToken, .checkToken: .anyShard
        }
    }

    package enum Destination: Equatable, Sendable {
        case shard(Int)
        case everyShard
        /// The shards where the room has members; the switchboard knows them.
        case room
        /// Whichever shard is asked.
        case anyShard
        /// No shard: the address cannot belong to anybody, so the answer is known.
        case nobody
    }

    /// The answer to a command whose address cannot belong to anybody.
    package var replyOfNobody: CommandReply {
        switch self {
        case .sendToUser, .sendToConnection, .sendToRoom, .broadcast: .receipt(Delivery())
        case .listConnections: .connections([])
        case .describe, .fromClient: .failed(.unknownConnection)
        case .disconnectUser, .disconnectConnection: .closed(0)
        case .bind, .unbind: .bound(false)
        case .statistics: .node(NodeStatistics(shards: [], uptimeNanoseconds: 0))
        case .batch, .makeToken, .checkToken: .failed(.malformed)
        }
    }
}
