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

/// How much a client may say: a rate with a burst, patience with those who exceed it, and an end to the patience.
package struct MessageLimit: Equatable, Sendable {
    package enum Verdict: Equatable, Sendable {
        case pass
        /// The message is not handled; the client is told so, and how many milliseconds to wait.
        case refuse(waitMilliseconds: Int)
        /// It went on regardless: close with 4429.
        case close
    }

    /// A message counts once for each of so many bytes that it has, when it is expanded.
    package static let bytesPerEvent = 32768

    private let rate: RateLimit
    /// Strikes before the connection is closed.
    private let patience: UInt32

    /// Nil where the rate is 0: no limit.
    package init?(perSecond: Int, burst: Int) {
        guard let rate = RateLimit(perSecond: perSecond, burst: burst) else { return nil }
        self.rate = rate
        patience = UInt32(clamping: max(1, burst))
    }

    /// The message that was judged last has so many bytes: a large one takes more of the rate, which then is behind.
    package func charge(_ state: inout UInt64, byteCount: Int, now: UInt64) {
        let more = UInt64(max(0, byteCount - 1) / Self.bytesPerEvent)
        if more > 0 { state = rate.charging(state, cost: more, now: now) }
    }

    /// A message came in.
    ///
    /// * `state`: the bucket (``RateLimit``).
    /// * `strikes`: refusals, less the messages that passed since.
    package func judge(_ state: inout UInt64, strikes: inout UInt32, now: UInt64) -> Verdict {
        if let next = rate.admitting(state, now: now) {
            state = next
            // Forgiven one by one: who is refused more often than not is closed in the end.
            strikes -= min(strikes, 1)
            return .pass
        }
        strikes = strikes == .max ? .max : strikes + 1
        if strikes > patience { return .close }
        let (milliseconds, rest) = rate.wait(state, now: now).quotientAndRemainder(dividingBy: 1_000_000)
        return .refuse(waitMilliseconds: Int(milliseconds) + (rest > 0 ? 1 : 0))
    }
}
