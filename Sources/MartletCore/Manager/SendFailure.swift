/// Why a connection did not take a message.
package enum SendFailure: UInt8, Error, Sendable {
    /// The connection is closed or closing.
    case closed
    /// Its outbound queue is at its bound.
    case queueFull
    /// The message is larger than a message may be.
    case tooLarge
    /// The shard has no memory left for frames.
    case outOfMemory
    /// The message is no text that a frame can carry.
    case notEncodable
    /// The sender sends more than it may.
    case rateLimited
}
