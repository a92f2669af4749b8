/// The one place of a worker that knows who is connected, and that sends to them.
///
/// It lives on the executor it is given (a worker passes its event loop), so code on that loop enters it without a hop.
/// It decides; what a socket is it does not know: it sends through a ``Transport``.
package actor WebSocketManager {
    package nonisolated let executor: any SerialExecutor
    package nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    private let transport: any Transport
    private var store = ConnectionStore()
    private var counters = Counters()

    /// - Parameters:
    ///   - executor: where the manager lives.
    ///   - transport: the sockets of its connections; used on that executor only.
    package init(executor: any SerialExecutor, transport: sending any Transport) {
        self.executor = executor
        self.transport = transport
    }

    // MARK: Connections

    /// Registers a connection.
    ///
    /// Of two with the same id the newer wins; the older one is closed with 4409.
    package func add(_ connection: WebSocketConnection) {
        if let older = store.remove(connection.id), older.handle != connection.handle {
            close(older, code: CloseReason.replaced.code, reason: CloseReason.replaced.advice)
        }
        store.insert(connection)
    }

    /// Forgets a connection whose socket is gone; nil when the id is unknown.
    @discardableResult
    package func remove(_ id: ConnectionID) -> WebSocketConnection? {
        store.remove(id)
    }

    package func connection(_ id: ConnectionID) -> WebSocketConnection? { store[id] }

    /// A user's connections, in the order in which they came.
    package func connections(ofUser user: String) -> [WebSocketConnection] { store.connections(ofUser: user) }

    // MARK: Sending

    /// Sends a text message to every connection of a user.
    package func send(_ text: Span<UInt8>, toUser user: String) throws(SendFailure) -> Delivery {
        guard store.count(ofUser: user) > 0 else { return Delivery() }
        return try deliver(text) { store.forEach(ofUser: user, $0) }
    }

    /// Sends a text message to one connection.
    package func send(_ text: Span<UInt8>, toConnection id: ConnectionID) throws(SendFailure) -> Delivery {
        guard let connection = store[id] else { return Delivery() }
        return try deliver(text) { $0(connection) }
    }

    /// Sends a text message to everybody, except the connections of the users named.
    package func broadcast(_ text: Span<UInt8>, excluding users: [String] = []) throws(SendFailure) -> Delivery {
        guard store.count > 0 else { return Delivery() }
        if users.isEmpty { return try deliver(text) { store.forEach($0) } }
        let excluded = Set(users)
        return try deliver(text) { visit in
            store.forEach { if !excluded.contains($0.user) { visit($0) } }
        }
    }

    /// Frames the message once and queues it for each connection that `visitAll` visits; closes those that fail.
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
            if let failure = transport.send(frame, to: connection.handle) {
                failures.append((connection.id, failure))
            } else {
                delivery.delivered += 1
            }
        }
        delivery.failed = failures.count
        counters.messagesSent += delivery.delivered
        counters.messagesFailed += delivery.failed
        counters.bytesSent += delivery.delivered * text.count
        for (id, failure) in failures { dropFailed(id, failure) }
        return delivery
    }

    /// A connection that could not take a message leaves every index, and is closed.
    private func dropFailed(_ id: ConnectionID, _ failure: SendFailure) {
        guard let connection = store.remove(id) else { return }
        let reason: CloseReason = failure == .queueFull ? .tooSlow : .internalError
        close(connection, code: reason.code, reason: reason.advice)
    }

    // MARK: Disconnecting

    /// Closes every connection of a user; returns how many.
    package func disconnect(user: String, code: UInt16, reason: String) -> Int {
        let connections = store.connections(ofUser: user)
        for connection in connections { disconnect(connection, code, reason) }
        return connections.count
    }

    /// Closes one connection; returns 1, or 0 where there is none.
    package func disconnect(connection id: ConnectionID, code: UInt16, reason: String) -> Int {
        guard let connection = store[id] else { return 0 }
        disconnect(connection, code, reason)
        return 1
    }

    /// Closes everybody.
    package func disconnectAll(_ reason: CloseReason) {
        var all: [WebSocketConnection] = []
        store.forEach { all.append(copy $0) }
        for connection in all { disconnect(connection, reason.code, reason.advice) }
    }

    private func disconnect(_ connection: WebSocketConnection, _ code: UInt16, _ reason: String) {
        _ = store.remove(connection.id)
        close(connection, code: code, reason: reason)
    }

    private func close(_ connection: WebSocketConnection, code: UInt16, reason: String) {
        transport.close(connection.handle, code: code, reason: reason)
    }

    // MARK: Statistics

    /// A client's message came in.
    package func received(byteCount: Int) {
        counters.messagesReceived += 1
        counters.bytesReceived += byteCount
    }

    /// What this shard's manager knows of itself; the totals agree with each other, because one store makes them all.
    package func statistics(byUser: Bool) -> ManagerStatistics {
        ManagerStatistics(
            connections: store.count,
            users: store.userCount,
            counters: counters,
            connectionsByUser: byUser ? store.countsByUser : nil
        )
    }

    /// What the indexes disagree about: nothing, ever.
    ///
    /// For tests.
    package var inconsistencies: [String] { store.inconsistencies }
}
