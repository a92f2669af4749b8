// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

/// Requests for shards while these cannot answer: they are kept in order, within a limit, and not forever.
struct HeldRequests {
    private let capacity: Int
    private let patience: UInt64
    private var waiting: [(header: PeerHeader, payload: [UInt8], deadline: UInt64)] = []
    private var byteCount = 0

    /// Makes an empty list.
    ///
    /// - Parameters:
    ///   - capacity: The most bytes that are kept.
    ///   - patience: How long a request is kept, in nanoseconds.
    init(capacity: Int, patience: UInt64) {
        self.capacity = capacity
        self.patience = patience
    }

    var nextDeadline: UInt64? { waiting.first?.deadline }

    /// The requests that are held, in order.
    var requests: [(header: PeerHeader, payload: [UInt8])] { waiting.map { ($0.header, $0.payload) } }

    /// Keeps a request; false if there is no room.
    mutating func add(_ header: PeerHeader, _ payload: [UInt8], now: UInt64) -> Bool {
        guard byteCount <= capacity else { return false }
        byteCount += PeerHeader.length + payload.count
        waiting.append((header, payload, now + patience))
        return true
    }

    /// Removes the requests of one process, which must get an answer.
    mutating func removeAll(from source: UInt16) -> [PendingRequests.Key] {
        let removed = waiting.filter { $0.header.source == source }
        byteCount -= removed.reduce(0) { $0 + PeerHeader.length + $1.payload.count }
        waiting.removeAll { $0.header.source == source }
        return removed.map { PendingRequests.Key(source: source, correlation: $0.header.correlation) }
    }

    /// Removes the requests that have waited too long; their requesters must get an answer.
    mutating func expire(now: UInt64) -> [PendingRequests.Key] {
        let due = waiting.prefix { $0.deadline <= now }
        byteCount -= due.reduce(0) { $0 + PeerHeader.length + $1.payload.count }
        waiting.removeFirst(due.count)
        return due.map { PendingRequests.Key(source: $0.header.source, correlation: $0.header.correlation) }
    }
}
