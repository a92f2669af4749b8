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
