/// How many descriptors may still be passed to a peer, and when to grant the peer more.
///
/// A receiver without room in its descriptor table loses what was sent to it, silently: the kernel closes it
/// (MSG_CTRUNC). So a sender spends one credit for each descriptor, and a receiver grants credits only for room it has.
package struct CreditWindow: Equatable, Sendable {
    /// The most descriptors that may be under way to us at once.
    package let size: Int
    /// Credits that the peer has granted us and that we have not spent.
    package private(set) var available = 0
    /// Descriptors that we took and have not granted credit for.
    package private(set) var received = 0

    package init(size: Int) {
        self.size = size
    }

    /// One that is under way.
    package init(size: Int, available: Int, received: Int) {
        self.size = size
        self.available = available
        self.received = received
    }

    /// Takes credits for that many descriptors; false, and nothing taken, where there are too few.
    package mutating func spend(_ count: Int) -> Bool {
        guard available >= count else { return false }
        available -= count
        return true
    }

    /// The peer granted us more; a peer of ours grants no more than this in all.
    package mutating func granted(_ count: Int) {
        available = min(available + count, Self.most)
    }

    private static let most = 1 << 20

    /// We took descriptors off the channel; returns how many credits to grant back now (0: not yet worth a packet).
    package mutating func took(_ count: Int) -> Int {
        received += count
        guard received * 4 >= size else { return 0 }
        defer { received = 0 }
        return received
    }
}
