// SPDX-License-Identifier: Apache-2.0

/// How long something took, in buckets of growing width.
package struct Histogram: Equatable, Sendable {
    /// Upper bounds in nanoseconds; anything longer falls into a last bucket without a bound.
    package static let bounds: [UInt64] = [
        10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000,
        50_000_000, 100_000_000, 250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000,
    ]

    /// Observations in each bucket (not cumulative), the unbounded one last.
    package private(set) var counts = [UInt64](repeating: 0, count: bounds.count + 1)
    /// The sum of all observations, in nanoseconds.
    package private(set) var sum: UInt64 = 0

    package init() {}

    /// Rebuilds a histogram that another process sent; nil if it has a different number of buckets.
    package init?(counts: [UInt64], sum: UInt64) {
        guard counts.count == Self.bounds.count + 1 else { return nil }
        self.counts = counts
        self.sum = sum
    }

    package var count: UInt64 { counts.reduce(0, &+) }

    package mutating func observe(_ nanoseconds: UInt64) {
        var bucket = 0
        while bucket < Self.bounds.count, nanoseconds > Self.bounds[bucket] { bucket += 1 }
        counts[bucket] &+= 1
        sum &+= nanoseconds
    }

    package mutating func merge(_ other: Histogram) {
        for index in counts.indices { counts[index] &+= other.counts[index] }
        sum &+= other.sum
    }
}
