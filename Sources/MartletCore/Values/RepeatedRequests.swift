// SPDX-License-Identifier: Apache-2.0

/// Requests with an `Idempotency-Key` that concern several shards: each is carried out once, and answered every time.
///
/// A request that comes again while the first one is under way waits for the answer to the first.
package struct RepeatedRequests: Sendable {
    package enum Beginning: Equatable, Sendable {
        /// Carry out the request, then call ``end(_:_:now:)``.
        case first
        /// The request will get the answer of the one that is under way.
        case waits
        case answered(CommandReply)
    }

    private struct UnderWay: Sendable {
        let key: RequestKey
        var waiting: [PendingRequests.Key] = []
    }

    /// How many requests were answered without being carried out again.
    package private(set) var repeated = 0
    private var answers: IdempotencyRecord<CommandReply>
    private var underWay: [PendingRequests.Key: UnderWay] = [:]
    private var firstAskers: [ExactText: PendingRequests.Key] = [:]

    package init(capacity: Int) {
        answers = IdempotencyRecord(capacity: capacity)
    }

    /// Every answer that is remembered, oldest first.
    package var remembered: [(key: String, fingerprint: UInt64, answer: CommandReply, expiry: UInt64)] { answers.all }

    /// Remembers an answer that was given before; answers must come in the order of their expiry.
    package mutating func restore(_ key: String, fingerprint: UInt64, _ reply: CommandReply, expiry: UInt64) {
        answers.restore(key, fingerprint: fingerprint, reply, expiry: expiry)
    }

    /// Notes that somebody sends a request with this key, and tells what to do with it.
    package mutating func begin(_ key: RequestKey, _ asker: PendingRequests.Key, now: UInt64) -> Beginning {
        switch answers.find(key.text, fingerprint: key.fingerprint, now: now) {
        case .known(let reply):
            repeated += 1
            return .answered(reply)
        case .conflict: return .answered(.failed(.keyReused))
        case .new: break
        }
        if let first = firstAskers[ExactText(key.text)], let present = underWay[first] {
            guard present.key.fingerprint == key.fingerprint else { return .answered(.failed(.keyReused)) }
            underWay[first]?.waiting.append(asker)
            repeated += 1
            return .waits
        }
        firstAskers[ExactText(key.text)] = asker
        underWay[asker] = UnderWay(key: key)
        return .first
    }

    /// Notes that a request has its answer, and returns who else waits for it.
    ///
    /// It is harmless for requests without a key. A failure is not remembered: the request may be tried again.
    package mutating func end(
        _ asker: PendingRequests.Key,
        _ reply: CommandReply,
        now: UInt64
    ) -> [PendingRequests.Key] {
        if underWay.isEmpty { return [] }
        guard let ended = underWay.removeValue(forKey: asker) else { return [] }
        firstAskers.removeValue(forKey: ExactText(ended.key.text))
        if case .receipt = reply {
            answers.remember(ended.key.text, fingerprint: ended.key.fingerprint, reply, now: now)
        }
        return ended.waiting
    }
}
