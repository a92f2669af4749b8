/// A rate with a burst: the generic cell rate algorithm, whose whole state is one number.
///
/// The state is the time (nanoseconds of a monotonic clock) at which the bucket would be full again. Being one word, it
/// lies in a connection's slot, or is shared by processes and exchanged atomically.
package struct RateLimit: Equatable, Sendable {
    /// Nanoseconds that one event costs.
    package let interval: UInt64
    /// How far the state may be ahead of the clock.
    package let tolerance: UInt64

    /// Nil where the rate is 0: no limit.
    ///
    /// `burst`: events that may come at once, at least 1.
    package init?(perSecond: Int, burst: Int) {
        guard perSecond > 0 else { return nil }
        interval = max(1, 1_000_000_000 / UInt64(perSecond))
        tolerance = interval * UInt64(max(1, burst) - 1)
    }

    /// The state after one more event; nil where the event is too much.
    package func admitting(_ state: UInt64, now: UInt64) -> UInt64? {
        let start = max(state, now)
        return start - now > tolerance ? nil : start &+ interval
    }

    /// The state after so many events, whether they are too much or not.
    package func charging(_ state: UInt64, cost: UInt64, now: UInt64) -> UInt64 { max(state, now) &+ interval &* cost }

    /// The same where the state is shared with processes that may write anything: one that no clock of theirs can have
    /// made counts as an empty bucket.
    package func admitting(shared state: UInt64, now: UInt64) -> UInt64? {
        let furthest = now &+ tolerance &+ interval &+ Self.clockDifference
        return admitting(state > furthest ? now : state, now: now)
    }

    /// Processes read the same clock once a turn.
    private static let clockDifference: UInt64 = 10_000_000_000

    /// Nanoseconds until the next event would be admitted.
    package func wait(_ state: UInt64, now: UInt64) -> UInt64 {
        let start = max(state, now)
        return start - now > tolerance ? start - now - tolerance : 0
    }
}
