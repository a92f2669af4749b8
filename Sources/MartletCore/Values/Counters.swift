/// What is counted: sums that only grow, even across restarts of a worker.
package enum Counter: Int, CaseIterable, Sendable {
    /// Deliveries: a message to two connections counts twice.
    case messagesSent
    case messagesReceived
    /// Deliveries that a connection could not take.
    case messagesFailed
    /// Messages that were accepted for a connection and went down with it.
    case messagesDropped
    /// Payload bytes of the deliveries.
    case bytesSent
    case bytesReceived
    /// Clients' messages that were over the rate.
    case messagesRateLimited
    /// Connections that became WebSockets of this shard.
    case connectionsOpened
    /// Upgrades that were refused, by reason.
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
    /// Times that acceptance rested for want of descriptors, or of room for more peers.
    case acceptPauses
    /// API requests that were answered 401.
    case apiUnauthorized
    /// Publishes that were carried out, or passed on.
    case publishes
    /// Publishes whose answer was known by their `Idempotency-Key`.
    case publishesRepeated
    /// Publishes that a full queue or a missing shard refused.
    case publishesRefused
    /// Requests to other shards that got no answer in time.
    case requestsTimedOut
    /// Joins and binds beyond what one member may have.
    case roomsRefused
    case pingsSent
    /// Idempotent answers that were forgotten before their time.
    case idempotencyForgotten
    /// Log lines that were lost in a flood.
    case logLinesLost
    /// Connections that were closed because the handling of their message had ended its worker.
    case connectionsPoisoned
    /// HTTP connections that were closed to make room for others.
    case httpEvicted
    /// HTTP connections that were closed because they did not read their answers.
    case httpUnread
    /// Requests whose bodies were refused as too many bytes were under way.
    case bodiesRefused
    /// Connections that were closed because too many bytes of unfinished messages were held.
    case partialMessagesRefused
    /// Workers that were replaced by request: a restart, a reload, an upgrade, another number of shards.
    case plannedRestarts
    /// Workers that were replaced because they had ended.
    case unplannedRestarts
    /// Answers of HTTP, by status; the last one is of all others.
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

    /// The statuses of HTTP that are counted, and where.
    package static let statuses: [(status: Int, counter: Counter)] = [
        (200, .http200), (204, .http204), (400, .http400), (401, .http401), (403, .http403),
        (404, .http404), (405, .http405), (408, .http408), (409, .http409), (411, .http411),
        (413, .http413), (415, .http415), (422, .http422), (426, .http426), (429, .http429),
        (431, .http431), (500, .http500), (503, .http503), (505, .http505),
    ]

    /// Where answers of a status are counted.
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

    package mutating func closed(with code: UInt16, count: Int = 1) {
        let index = CloseLabel.index(of: code)
        closes[index] = Self.sum(closes[index], count)
    }

    /// Sets what was received from another process.
    package mutating func setCloses(_ counts: [Int]) {
        for (index, count) in counts.prefix(closes.count).enumerated() { closes[index] = count }
    }

    /// Sums of what other processes say never trap: they stay at their end.
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
