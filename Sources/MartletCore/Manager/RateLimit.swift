// SPDX-License-Identifier: Apache-2.0

/// A rate with a burst: the generic cell rate algorithm, whose whole state is one number.
///
/// The state is the time (nanoseconds of a monotonic clock) at which the bucket would be full again. Because it is one
/// word, it can be kept in a connection's slot, or shared by processes and exchanged atomically.
package struct RateLimit: Equatable, Sendable {
    /// How many nanoseconds one event costs.
    package let interval: UInt64
    /// How far the state may be ahead of the clock.
    package let tolerance: UInt64

    /// Makes a rate limit, or nil if the rate is 0, which means no limit.
    ///
    /// `burst` is how many events may come at once; at least 1.
    package init?(perSecond: Int, burst: Int) {
        guard perSecond > 0 else { return nil }
        interval = max(1, 1_000_000_000 / UInt64(perSecond))
        tolerance = interval * UInt64(max(1, burst) - 1)
    }

    /// Returns the state after one more event; nil if the event exceeds the rate.
    package func admitting(_ state: UInt64, now: UInt64) -> UInt64? {
        let start = max(state, now)
        return start - now > tolerance ? nil : start &+ interval
    }

    /// Returns the state after `cost` more events, whether they exceed the rate or not.
    package func charging(_ state: UInt64, cost: UInt64, now: UInt64) -> UInt64 { max(state, now) &+ interval &* cost }

    /// Returns the state after one more event, if other processes share the state and may write anything to it.
    ///
    /// A state that is too far in the future for any of their clocks counts as `now`.
    package func admitting(shared state: UInt64, now: UInt64) -> UInt64? {
        let furthest = now &+ tolerance &+ interval &+ Self.clockDifference
        return admitting(state > furthest ? now : state, now: now)
    }

    /// How far the times of two processes may differ, because each reads the clock only once a turn.
    private static let clockDifference: UInt64 = 10_000_000_000

    /// Returns how many nanoseconds remain until the next event would be admitted.
    package func wait(_ state: UInt64, now: UInt64) -> UInt64 {
        let start = max(state, now)
        return start - now > tolerance ? start - now - tolerance : 0
    }
}
