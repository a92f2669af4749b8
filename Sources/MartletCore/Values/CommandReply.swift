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
