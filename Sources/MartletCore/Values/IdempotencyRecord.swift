// SPDX-License-Identifier: Apache-2.0

/// The answers to requests that carried an `Idempotency-Key`, for five minutes, so that a repeated request gets it.
///
/// The record is bounded: when there are too many answers, the oldest are forgotten early, and counted.
package struct IdempotencyRecord<Answer: Sendable>: Sendable {
    package enum Finding: Sendable {
        /// The key is new: carry out the request, then ``remember(_:fingerprint:_:now:)`` its answer.
        case new
        case known(Answer)
        /// The key was used before, with a different request.
        case conflict
    }

    private struct Entry: Sendable {
        let fingerprint: UInt64
        let answer: Answer
        let expiry: UInt64
    }

    private let capacity: Int
    private let lifetime: UInt64
    private var entries: [ExactText: Entry] = [:]
    private var order: [(key: ExactText, expiry: UInt64)] = []
    private var orderStart = 0
    /// How many answers were forgotten before they expired.
    package private(set) var forgottenEarly = 0

    /// Makes an empty record.
    ///
    /// - Parameters:
    ///   - capacity: The most answers that are kept.
    ///   - lifetime: How long each answer is kept, in nanoseconds.
    package init(capacity: Int, lifetime: UInt64 = 300_000_000_000) {
        self.capacity = capacity
        self.lifetime = lifetime
    }

    package var count: Int { entries.count }

    /// Looks up a key.
    ///
    /// `fingerprint` is that of the request (``Fingerprint``), which detects a key that is used for two requests.
    package func find(_ key: String, fingerprint: UInt64, now: UInt64) -> Finding {
        guard let entry = entries[ExactText(key)], entry.expiry > now else { return .new }
        return entry.fingerprint == fingerprint ? .known(entry.answer) : .conflict
    }

    /// Every answer that is remembered, oldest first.
    package var all: [(key: String, fingerprint: UInt64, answer: Answer, expiry: UInt64)] {
        order[orderStart...].compactMap { place in
            guard let entry = entries[place.key], entry.expiry == place.expiry else { return nil }
            return (place.key.text, entry.fingerprint, entry.answer, entry.expiry)
        }
    }

    /// Remembers an answer, and returns those that were forgotten to make room or because of their age.
    @discardableResult
    package mutating func remember(_ key: String, fingerprint: UInt64, _ answer: Answer, now: UInt64) -> [Answer] {
        let forgotten = forgetOld(now)
        restore(key, fingerprint: fingerprint, answer, expiry: expiry(now: now))
        return forgotten
    }

    /// Returns the time until which an answer that is given now is remembered.
    package func expiry(now: UInt64) -> UInt64 { now + lifetime }

    /// Remembers an answer that expires at a given time; answers must come in the order of their expiry.
    package mutating func restore(_ key: String, fingerprint: UInt64, _ answer: Answer, expiry: UInt64) {
        let key = ExactText(key)
        entries[key] = Entry(fingerprint: fingerprint, answer: answer, expiry: expiry)
        order.append((key, expiry))
    }

    private mutating func forgetOld(_ now: UInt64) -> [Answer] {
        var forgotten: [Answer] = []
        while orderStart < order.count {
            let first = order[orderStart]
            let isDue = first.expiry <= now
            guard isDue || entries.count >= capacity else { break }
            orderStart += 1
            // A key that has been remembered again since then has a later place in the order.
            guard let entry = entries[first.key], entry.expiry == first.expiry else { continue }
            entries.removeValue(forKey: first.key)
            forgotten.append(entry.answer)
            if !isDue { forgottenEarly += 1 }
        }
        if orderStart > 1024, orderStart * 2 > order.count {
            order.removeFirst(orderStart)
            orderStart = 0
        }
        return forgotten
    }
}
