// SPDX-License-Identifier: Apache-2.0

/// What Martlet counts: sums that only grow, even across restarts of a worker.
package enum Counter: Int, CaseIterable, Sendable {
    /// Deliveries: a message to two connections counts twice.
    case messagesSent
    case messagesReceived
    /// Deliveries that a connection could not take.
    case messagesFailed
    /// Messages that were accepted for a connection and lost when it ended.
    case messagesDropped
    /// Payload bytes of the deliveries.
    case bytesSent
    case bytesReceived
    /// Messages of clients that exceeded their rate.
    case messagesRateLimited
    /// Connections that became WebSockets, or streams of server-sent events, on this shard.
    case connectionsOpened
    /// Upgrades that were refused because the request was malformed; other reasons follow.
    case refusedMalformed
    case refusedUnauthorized
    case refusedForbidden
    case refusedUserLimit
    case refusedAddressLimit
    case refusedNodeLimit
    case refusedHandshakeRate
    case refusedUnavailable
    /// Connections whose HTTP head took too long.
    case handshakeTimeouts
    /// How often a worker stopped accepting connections because it had no descriptors, or no room for more peers.
    case acceptPauses
    /// API requests that were answered with 401.
    case apiUnauthorized
    /// Publishes that were carried out, or passed on.
    case publishes
    /// Publishes that were answered from the record of their `Idempotency-Key`.
    case publishesRepeated
    /// Publishes that were refused because a queue was full or a shard was missing.
    case publishesRefused
    /// Requests to other shards that got no answer in time.
    case requestsTimedOut
    /// Joins and binds that were refused because the member was in too many rooms.
    case roomsRefused
    case pingsSent
    /// Idempotent answers that were forgotten before they expired.
    case idempotencyForgotten
    /// Log lines that were lost in a flood.
    case logLinesLost
    /// Connections that were closed because handling their message had ended a worker.
    case connectionsPoisoned
    /// HTTP connections that were closed to make room for others.
    case httpEvicted
    /// HTTP connections that were closed because they did not read their answers.
    case httpUnread
    /// Requests whose bodies were refused because too many bytes were already on their way.
    case bodiesRefused
    /// Connections that were closed because too many bytes of unfinished messages were held.
    case partialMessagesRefused
    /// Workers that were replaced on request: for a restart, a reload, an upgrade, or a new number of shards.
    case plannedRestarts
    /// Workers that were replaced because they had ended.
    case unplannedRestarts
    /// HTTP answers with status 200; other statuses follow, and the last counter is for all the rest.
    case http200
    case http204
    case http400
    case http401
    case http403
    case http404
    case http405
    case http408
    case http409
    case http411
    case http413
    case http415
    case http422
    case http426
    case http429
    case http431
    case http500
    case http503
    case http505
    case httpOther
    // Counters are known to other versions by their number: new ones come last.
    /// Messages that sessions without a socket have taken.
    case messagesHeld
    /// Sessions that their clients resumed; then why others were not.
    case sessionsResumed
    case resumesExpired
    case resumesOverflowed
    case resumesUnknown
    case resumesForbidden
    case resumesAhead
    /// Sessions that ended because their client did not come back in time.
    case sessionsExpired
    /// Waiting sessions that ended to make room for others.
    case sessionsEvicted
    /// Connections that became streams of server-sent events, in place of WebSockets.
    case eventStreamsOpened

    /// The HTTP statuses that are counted, and their counters.
    package static let statuses: [(status: Int, counter: Counter)] = [
        (200, .http200), (204, .http204), (400, .http400), (401, .http401), (403, .http403),
        (404, .http404), (405, .http405), (408, .http408), (409, .http409), (411, .http411),
        (413, .http413), (415, .http415), (422, .http422), (426, .http426), (429, .http429),
        (431, .http431), (500, .http500), (503, .http503), (505, .http505),
    ]

    /// Returns the counter for answers with a status.
    package static func answers(of status: Int) -> Counter {
        statuses.first { $0.status == status }?.counter ?? .httpOther
    }
}

/// A value for each ``Counter``, the connections that ended by close code, and how long things took.
package struct Counters: Equatable, Sendable {
    private var values = [Int](repeating: 0, count: Counter.allCases.count)
    /// Connections that ended, by ``CloseLabel``.
    package private(set) var closes = [Int](repeating: 0, count: CloseLabel.all.count)
    private var histograms = [Histogram](repeating: Histogram(), count: Timing.allCases.count)

    package init() {}

    package subscript(counter: Counter) -> Int {
        get { values[counter.rawValue] }
        set { values[counter.rawValue] = newValue }
    }

    package subscript(timing: Timing) -> Histogram {
        get { histograms[timing.rawValue] }
        set { histograms[timing.rawValue] = newValue }
    }

    /// Notes how long something took; the subscript would copy the buckets.
    package mutating func observe(_ timing: Timing, _ nanoseconds: UInt64) {
        histograms[timing.rawValue].observe(nanoseconds)
    }

    package mutating func closed(with code: UInt16, count: Int = 1) {
        let index = CloseLabel.index(of: code)
        closes[index] = Self.sum(closes[index], count)
    }

    /// Sets the counts of closes that another process sent.
    package mutating func setCloses(_ counts: [Int]) {
        for (index, count) in counts.prefix(closes.count).enumerated() { closes[index] = count }
    }

    /// Adds the counters of another process; a sum that would overflow stays at the largest value.
    package mutating func merge(_ other: Counters) {
        for index in values.indices { values[index] = Self.sum(values[index], other.values[index]) }
        for index in closes.indices { closes[index] = Self.sum(closes[index], other.closes[index]) }
        for index in histograms.indices where other.histograms[index].sum > 0 {
            histograms[index].merge(other.histograms[index])
        }
    }
}

extension Counters {
    fileprivate static func sum(_ left: Int, _ right: Int) -> Int {
        let (sum, overflows) = left.addingReportingOverflow(right)
        return overflows ? (right > 0 ? .max : .min) : sum
    }
}
