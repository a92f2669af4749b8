// SPDX-License-Identifier: Apache-2.0

/// How many descriptors may still be passed to a peer, and when to grant the peer more.
///
/// A receiver without room in its descriptor table silently loses descriptors that are sent to it: the kernel closes
/// them (MSG_CTRUNC). So a sender spends one credit for each descriptor, and a receiver grants credits only for room
/// that it has.
package struct CreditWindow: Equatable, Sendable {
    /// The most descriptors that may be on their way to us at once.
    package let size: Int
    /// How many credits the peer has granted us that we have not spent.
    package private(set) var available = 0
    /// How many descriptors we have taken without granting new credits for them.
    package private(set) var received = 0

    package init(size: Int) {
        self.size = size
    }

    /// Continues a window that is in use.
    package init(size: Int, available: Int, received: Int) {
        self.size = size
        self.available = available
        self.received = received
    }

    /// Takes credits for that many descriptors; if there are too few, it takes none and returns false.
    package mutating func spend(_ count: Int) -> Bool {
        guard available >= count else { return false }
        available -= count
        return true
    }

    /// Notes that the peer granted us more credits, up to the most that any of our peers grants in total.
    package mutating func granted(_ count: Int) {
        available = min(available + count, Self.most)
    }

    private static let most = 1 << 20

    /// Notes that we took descriptors, and returns how many credits to grant back now (0: not yet worth a packet).
    package mutating func took(_ count: Int) -> Int {
        received += count
        guard received * 4 >= size else { return 0 }
        defer { received = 0 }
        return received
    }
}
