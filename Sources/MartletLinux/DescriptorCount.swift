/// How many descriptors this process has open, and may have.
package struct DescriptorCount: Sendable {
    /// Looking costs a process with ten thousand of them some milliseconds.
    private static let interval: UInt64 = 5_000_000_000

    package let limit: Int
    private var known = 0
    private var knownAt: UInt64?

    package init(limit: Int) { self.limit = limit }

    /// As it was a few seconds ago, at most.
    package mutating func current() -> Int {
        let now = Clock.monotonicNanoseconds()
        if let knownAt, now < knownAt + Self.interval { return known }
        knownAt = now
        known = CurrentProcess.openDescriptors
        return known
    }
}
