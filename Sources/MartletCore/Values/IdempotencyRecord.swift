/// The answers to requests that carried an `Idempotency-Key`, for five minutes: the second time gets the first answer.
///
/// Bounded: the oldest are forgotten early when there are too many, and counted.
package struct IdempotencyRecord<Answer: Sendable>: Sendable {
    package enum Finding: Sendable {
        /// The key is new: carry the request out, then ``remember(_:fingerprint:_:now:)`` its answer.
        case new
        case known(Answer)
        /// The key came before with another request.
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
    /// Answers that were forgotten before their time.
    package private(set) var forgottenEarly = 0

    /// * `capacity`: the most answers that are kept.
    /// * `lifetime`: how long, in nanoseconds.
    package init(capacity: Int, lifetime: UInt64 = 300_000_000_000) {
        self.capacity = capacity
        self.lifetime = lifetime
    }

    package var count: Int { entries.count }

    /// Looks a key up.
    ///
    /// `fingerprint`: of the request (``Fingerprint``), so that a key which is used for two things is found out.
    package func find(_ key: String, fingerprint: UInt64, now: UInt64) -> Finding {
        guard let entry = entries[ExactText(key)], entry.expiry > now else { return .new }
        return entry.fingerprint == fingerprint ? .known(entry.answer) : .conflict
    }

    /// Everything that is remembered, oldest first.
    package var all: [(key: String, fingerprint: UInt64, answer: Answer, expiry: UInt64)] {
        order[orderStart...].compactMap { place in
            guard let entry = entries[place.key], entry.expiry == place.expiry else { return nil }
            return (place.key.text, entry.fingerprint, entry.answer, entry.expiry)
        }
    }

    /// True where an answer is remembered under the key, of whatever age.
    package func knows(_ key: String) -> Bool { entries[ExactText(key)] != nil }

    /// Remembers an answer; returns those that were forgotten for it, or because of their age.
    @discardableResult
    package mutating func remember(_ key: String, fingerprint: UInt64, _ answer: Answer, now: UInt64) -> [Answer] {
        let forgotten = forgetOld(now)
        restore(key, fingerprint: fingerprint, answer, expiry: expiry(now: now))
        return forgotten
    }

    /// Until when an answer is remembered that is given now.
    package func expiry(now: UInt64) -> UInt64 { now + lifetime }

    /// Remembers an answer of before; those with an earlier expiry come first.
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
            // A key that was remembered again since has a later place in the order.
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
