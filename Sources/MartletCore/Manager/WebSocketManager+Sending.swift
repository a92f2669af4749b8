// SPDX-License-Identifier: Apache-2.0

extension WebSocketManager {
    /// Sends a text message to every connection of a user.
    package func send(_ text: Span<UInt8>, toUser user: String) throws(SendFailure) -> Delivery {
        guard let connections = store.list(ofUser: user) else { return Delivery() }
        return try deliver(text) { store.forEach(in: connections, $0) }
    }

    /// Sends a text message to one connection.
    package func send(_ text: Span<UInt8>, toConnection id: ConnectionID) throws(SendFailure) -> Delivery {
        guard let connection = store[id] else { return Delivery() }
        return try deliver(text) { $0(connection) }
    }

    /// Sends a text message to every connection of this shard that is in a room.
    package func send(_ text: Span<UInt8>, toRoom room: Room) throws(SendFailure) -> Delivery {
        guard store.rooms.members[room] != nil else { return Delivery() }
        return try deliver(text) { store.forEach(in: room, $0) }
    }

    /// Sends a text message to a thread, or to the user with that id if the thread has no members.
    ///
    /// This is for a manager that is alone; with several shards, the switchboard knows whether a thread has members.
    package func send(_ text: Span<UInt8>, toThread id: String) throws(SendFailure) -> Delivery {
        if store.rooms.members[.thread(id)] != nil { return try send(text, toRoom: .thread(id)) }
        return try send(text, toUser: id)
    }

    /// Sends a text message to every connection, except those of the given users.
    package func broadcast(_ text: Span<UInt8>, excluding users: [String] = []) throws(SendFailure) -> Delivery {
        guard store.count > 0 else { return Delivery() }
        if users.isEmpty { return try deliver(text) { store.forEach($0) } }
        let excluded = Set(users.map { ExactText($0) })
        return try deliver(text) { visit in
            store.forEach { if !excluded.contains(ExactText($0.user)) { visit($0) } }
        }
    }

    /// Frames the message once and queues it for each connection that `visitAll` visits; it closes those that fail.
    private func deliver(
        _ text: Span<UInt8>,
        _ visitAll: ((borrowing WebSocketConnection) -> Void) -> Void
    ) throws(SendFailure) -> Delivery {
        let frame = try transport.prepare(text)
        defer { transport.release(frame) }
        var delivery = Delivery()
        var failures: [(ConnectionID, SendFailure)] = []
        visitAll { connection in
            delivery.matched += 1
            switch transport.send(frame, to: connection.handle) {
            case .queued: delivery.delivered += 1
            case .held: delivery.held += 1
            case .failed(let failure): failures.append((connection.id, failure))
            }
        }
        delivery.failed = failures.count
        counters[.messagesSent] += delivery.delivered
        counters[.messagesHeld] += delivery.held
        counters[.bytesSent] += delivery.delivered * text.count
        if !failures.isEmpty {
            counters[.messagesFailed] += delivery.failed
            for (id, failure) in failures { dropFailed(id, failure) }
        }
        return delivery
    }

    /// Removes a connection that could not take a message from every index, and closes it.
    private func dropFailed(_ id: ConnectionID, _ failure: SendFailure) {
        guard let connection = store.remove(id) else { return }
        observer?(.sendFailed(id, failure))
        let reason: CloseReason = failure == .queueFull ? .tooSlow : .internalError
        close(connection, code: reason.code, reason: reason.advice)
    }
}
