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
