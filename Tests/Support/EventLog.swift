// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Events in the order in which they came, and a way to wait until they meet a condition, with a deadline.
public actor EventLog<Event: Sendable> {
    /// The error that the events did not meet the condition in time.
    public struct TimedOut: Error, CustomStringConvertible {
        public let description: String

        public init(description: String) { self.description = description }
    }

    private struct Waiter {
        let id: Int
        let condition: ([Event]) -> Bool
        let continuation: CheckedContinuation<Bool, Never>
    }

    public private(set) var events: [Event] = []
    private var waiters: [Waiter] = []
    private var nextID = 0
    /// How long it took to ask the waiters' conditions the last time, in seconds.
    private var cost = 0.0
    private var willLook = false

    public init() {}

    public func append(_ event: Event) {
        events.append(event)
        if waiters.isEmpty || willLook { return }
        if cost < 0.0001 { return look() }
        willLook = true
        DispatchQueue.global().asyncAfter(deadline: .now() + 5 * cost) { Task { await self.look() } }
    }

    /// Asks each waiter's condition, which looks at all events: where there are many, not for each that comes.
    private func look() {
        willLook = false
        let began = DispatchTime.now()
        let met = waiters.filter { $0.condition(events) }
        waiters.removeAll { waiter in met.contains { $0.id == waiter.id } }
        for waiter in met { waiter.continuation.resume(returning: true) }
        cost = Double(DispatchTime.now().uptimeNanoseconds - began.uptimeNanoseconds) / 1e9
    }

    /// Returns when the events meet the condition; throws if they have not by the deadline.
    public func wait(
        _ what: String,
        seconds: Double = 20,
        until condition: @escaping @Sendable ([Event]) -> Bool
    ) async throws {
        if condition(events) { return }
        nextID += 1
        let id = nextID
        let isMet = await withCheckedContinuation { continuation in
            waiters.append(Waiter(id: id, condition: condition, continuation: continuation))
            DispatchQueue.global().asyncAfter(deadline: .now() + seconds) {
                Task { await self.giveUp(id) }
            }
        }
        if !isMet { throw TimedOut(description: "no \(what) within \(seconds) s; last events: \(events.suffix(12))") }
    }

    private func giveUp(_ id: Int) {
        guard let index = waiters.firstIndex(where: { $0.id == id }) else { return }
        waiters.remove(at: index).continuation.resume(returning: false)
    }
}
