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

/// A command as it travels: with the key under which its answer is remembered, where it has one.
package struct Request: Equatable, Sendable {
    package let command: Command
    package let key: RequestKey?

    package init(_ command: Command, key: RequestKey? = nil) {
        self.command = command
        self.key = key
    }
}

/// An `Idempotency-Key`, and what it was used for.
package struct RequestKey: Hashable, Sendable {
    package let text: String
    /// Of the address and the body, so that a key which is used for two things is found out.
    package let fingerprint: UInt64

    package init(_ text: String, fingerprint: UInt64) {
        self.text = text
        self.fingerprint = fingerprint
    }

    /// `body` is what the backend sent, before any envelope: a timestamp would make every request another.
    package init(_ text: String, of command: Command, _ body: Span<UInt8>, isEvent: Bool) {
        var fingerprint = Fingerprint()
        let address =
            switch command {
            case .sendToUser(let user): "u" + user
            case .sendToConnection(let id): "c" + id.text
            case .sendToRoom(let room): room.kind.name + " " + room.id
            case .broadcast(let excluded): "b" + excluded.joined(separator: "\u{0}")
            default: ""
            }
        fingerprint.add(Array(address.utf8).span)
        fingerprint.add([isEvent ? 1 : 0].span)
        fingerprint.add(body)
        self.init(text, fingerprint: fingerprint.value)
    }
}

/// One connection, as `GET /v1/connections/{id}` shows it.
package struct ConnectionSummary: Equatable, Sendable {
    package var id: ConnectionID
    package var user: String
    package var shard: Int
    /// UTC, in milliseconds since 1970, as all times here.
    package var connectedAt: Int64
    /// When something was received last.
    package var lastSeenAt: Int64
    /// When the token ends; nil: never.
    package var expiresAt: Int64?
    package var thread: String?
    package var threads: [String] = []
    package var jobs: [String] = []
    /// The text of a JSON object.
    package var metadata: String?
    package var origin: ClientOrigin?
    package var queuedMessages = 0
    package var queuedBytes = 0
    /// Of the last ping, in microseconds; nil before the first pong.
    package var roundTrip: Int?

    package init(id: ConnectionID, user: String, shard: Int, connectedAt: Int64, lastSeenAt: Int64) {
        self.id = id
        self.user = user
        self.shard = shard
        self.connectedAt = connectedAt
        self.lastSeenAt = lastSeenAt
    }
}

/// The answer to a ``Command``.
package enum CommandReply: Equatable, Sendable {
    case receipt(Delivery)
    case connections([ConnectionSummary])
    case closed(Int)
    /// True where the binding was made, or ended, by this request; false where all was so already.
    case bound(Bool)
    /// So many connections left a thread as their user was taken out of it.
    case left(Int)
    case token(String)
    /// What a token says; or why it is refused.
    case claims(TokenClaims)
    case tokenRefused(TokenProblem)
    /// The replies to the publishes of a ``Command/batch``, in order.
    case batch([CommandReply])
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
    /// The `Idempotency-Key` came before with another request.
    case keyReused
    /// The member is in as many rooms as one may be.
    case tooManyRooms
    /// There is no HMAC secret to sign with.
    case cannotSign
    /// Its shard's worker has ended twice while it carried this out.
    case poisonous
    /// The request could not be read: peers of different versions.
    case malformed
}
