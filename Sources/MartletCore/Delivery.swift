/// The receipt of a publish: what became of a message.
package struct Delivery: Equatable, Sendable {
    /// Connections that the address named.
    package var matched: Int
    /// Connections whose socket accepted the message.
    package var delivered: Int
    /// Connections that could not take it; each of them is closed.
    package var failed: Int

    package init(matched: Int = 0, delivered: Int = 0, failed: Int = 0) {
        self.matched = matched
        self.delivered = delivered
        self.failed = failed
    }

    /// Adds the receipt of another shard.
    package mutating func merge(_ other: Delivery) {
        // Each is what another process says, at most 32 bits of it.
        matched &+= other.matched
        delivered &+= other.delivered
        failed &+= other.failed
    }
}

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
