// SPDX-License-Identifier: Apache-2.0

/// The answer to a ``Command``.
///
/// Large and rare answers are boxed, so that a receipt, which is frequent, is small.
package enum CommandReply: Equatable, Sendable {
    case receipt(Delivery)
    case connections([ConnectionSummary])
    case closed(Int)
    /// True if this request made or ended the binding; false if there was nothing to change.
    case bound(Bool)
    /// How many connections left a thread because their user was taken out of it.
    case left(Int)
    case token(String)
    /// What a token says.
    indirect case claims(TokenClaims)
    case tokenRefused(TokenProblem)
    /// The replies to the publishes of a ``Command/batch``, in order.
    case batch([CommandReply])
    indirect case shard(ShardStatistics)
    indirect case node(NodeStatistics)
    /// How many messages of a session's client were handled; `isWhole` is false if some before the posted ones are missing.
    case received(UInt32, isWhole: Bool)
    case failed(CommandFailure)
}

/// Why a command was not, or not wholly, carried out.
///
/// It travels between processes as a code.
package enum CommandFailure: Equatable, Sendable {
    /// A shard that owns part of the address is not serving now; the receipt tells what the other shards did.
    case shardUnavailable(partial: Delivery?)
    /// A queue on the way is full.
    case overloaded
    case messageTooLarge
    case unknownConnection
    /// The session does not read server-sent events now, or has a newer token.
    case notOpen
    /// The `Idempotency-Key` was used before, with a different request.
    case keyReused
    /// The member is already in as many rooms as it may be.
    case tooManyRooms
    /// There is no HMAC secret to sign with.
    case cannotSign
    /// The shard's worker has ended twice while it carried out this command.
    case poisonous
    /// The request could not be read because the peers have different versions.
    case malformed
}
