// SPDX-License-Identifier: Apache-2.0

/// Times in nanoseconds, for percentiles.
struct Latencies {
    private var samples: [UInt64] = []

    mutating func add(_ nanoseconds: UInt64) { samples.append(nanoseconds) }

    var count: Int { samples.count }

    /// Returns percentiles in microseconds: p50, p99, p99.9 and the maximum.
    func summary() -> [(name: String, microseconds: Double)] {
        guard !samples.isEmpty else { return [] }
        let sorted = samples.sorted()
        func percentile(_ share: Double) -> Double {
            Double(sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]) / 1000
        }
        return [
            ("p50", percentile(0.5)), ("p99", percentile(0.99)), ("p99.9", percentile(0.999)),
            ("max", Double(sorted[sorted.count - 1]) / 1000),
        ]
    }
}
