// SPDX-License-Identifier: Apache-2.0

/// The receipt of a publish: what became of a message.
package struct Delivery: Equatable, Sendable {
    /// How many connections the address named: the sum of the others.
    package var matched: Int
    /// How many connections accepted the message into their queue.
    package var delivered: Int
    /// How many sessions without a socket hold the message until their clients come back.
    package var held: Int
    /// How many connections could not take the message; each of them is closed.
    package var failed: Int

    package init(matched: Int = 0, delivered: Int = 0, held: Int = 0, failed: Int = 0) {
        self.matched = matched
        self.delivered = delivered
        self.held = held
        self.failed = failed
    }

    /// Adds the receipt of another shard.
    package mutating func merge(_ other: Delivery) {
        // Each number comes from another process, and has at most 32 bits.
        matched &+= other.matched
        delivered &+= other.delivered
        held &+= other.held
        failed &+= other.failed
    }
}
