// SPDX-License-Identifier: Apache-2.0

/// How much a client may send: a rate with a burst, and patience, which ends, with a client that exceeds it.
package struct MessageLimit: Equatable, Sendable {
    package enum Verdict: Equatable, Sendable {
        case pass
        /// The message is not handled; the client is told this, and how many milliseconds to wait.
        case refuse(waitMilliseconds: Int)
        /// The client went on regardless: close with 4429.
        case close
    }

    /// A message counts as one event for each time that it has this many bytes, when it is expanded.
    package static let bytesPerEvent = 32768

    private let rate: RateLimit
    /// How many strikes a client may have before its connection is closed.
    private let patience: UInt32

    /// Makes a limit, or nil if the rate is 0, which means no limit.
    package init?(perSecond: Int, burst: Int) {
        guard let rate = RateLimit(perSecond: perSecond, burst: burst) else { return nil }
        self.rate = rate
        patience = UInt32(clamping: max(1, burst))
    }

    /// Charges for the size of the message that was judged last, so that a large message uses up more of the rate.
    package func charge(_ state: inout UInt64, byteCount: Int, now: UInt64) {
        let more = UInt64(max(0, byteCount - 1) / Self.bytesPerEvent)
        if more > 0 { state = rate.charging(state, cost: more, now: now) }
    }

    /// Gives back what the message that was judged last has cost.
    package func refund(_ state: inout UInt64) { state -= min(state, rate.interval) }

    /// Decides about a message that came in.
    ///
    /// - Parameters:
    ///   - state: The bucket (``RateLimit``).
    ///   - strikes: The number of refusals, minus the messages that have passed since.
    ///   - now: Nanoseconds of a monotonic clock.
    /// - Returns: What to do with the message.
    package func judge(_ state: inout UInt64, strikes: inout UInt32, now: UInt64) -> Verdict {
        if let next = rate.admitting(state, now: now) {
            state = next
            // Each message that passes forgives one strike: a client that is mostly refused is closed in the end.
            strikes -= min(strikes, 1)
            return .pass
        }
        strikes = strikes == .max ? .max : strikes + 1
        if strikes > patience { return .close }
        let (milliseconds, rest) = rate.wait(state, now: now).quotientAndRemainder(dividingBy: 1_000_000)
        return .refuse(waitMilliseconds: Int(milliseconds) + (rest > 0 ? 1 : 0))
    }
}
