// SPDX-License-Identifier: Apache-2.0

/// The only part of a worker that knows who is connected and sends to them.
///
/// It lives on the executor that it is given (a worker passes its event loop), so code on that loop enters it without a
/// hop. It makes decisions, and knows nothing of sockets: it sends through a ``Transport``.
package actor WebSocketManager {
    /// The limits of whatever could grow without end in one manager.
    package struct Limits: Equatable, Sendable {
        /// The most connections of one user; 0: any number.
        package var connectionsPerUser = 0
        package var overUserLimit = OverUserLimit.reject
        /// The most rooms of one connection, and the most threads that one user is bound to.
        package var roomsPerMember = 256
        /// Whether to keep the list that ``WebSocketManager/takeRoomChanges()`` takes; then somebody must take it.
        package var recordsRoomChanges = false

        package init() {}
    }

    package nonisolated let executor: any SerialExecutor
    package nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    let transport: any Transport
    let limits: Limits
    let observer: ((ManagerEvent) -> Void)?
    let store: ConnectionStore
    var counters = Counters()
    var messageHandler: ((borrowing WebSocketConnection, Span<UInt8>) throws -> Bool)?

    /// Makes a manager without connections.
    ///
    /// - Parameters:
    ///   - executor: Where the manager lives.
    ///   - transport: The sockets of its connections; used on that executor only.
    ///   - limits: What the manager may hold.
    ///   - observer: Is told what happens, on that executor.
    package init(
        executor: any SerialExecutor,
        transport: sending any Transport,
        limits: Limits = Limits(),
        observer: sending ((ManagerEvent) -> Void)? = nil
    ) {
        self.executor = executor
        self.transport = transport
        self.limits = limits
        self.observer = observer
        store = ConnectionStore(recordsRoomChanges: limits.recordsRoomChanges)
        observer?(.initialized)
    }

    /// The manager of an application that embeds the library; a worker makes its own.
    package static let shared = WebSocketManager(executor: SerialQueue(), transport: SocketSet())

    /// Adds a socket to a ``SocketSet`` and returns its handle; returns nil if the transport is of another type.
    package func insert(_ socket: sending any ClientSocket) -> Int? {
        (transport as? SocketSet)?.insert(socket)
    }

    /// A view of this manager for applications that know connections by their own objects.
    package nonisolated var registry: ConnectionRegistry { ConnectionRegistry(manager: self) }

    // MARK: Connections

    /// Makes room for one more connection of a user: true if there is room, or closing the oldest one made some.
    ///
    /// The limit is exact, because a user has one home shard.
    package func admit(user: String) -> Bool {
        guard limits.connectionsPerUser > 0, store.count(ofUser: user) >= limits.connectionsPerUser else { return true }
        guard limits.overUserLimit == .replaceOldest else { return false }
        while store.count(ofUser: user) >= limits.connectionsPerUser, let oldest = store.oldest(ofUser: user) {
            disconnect(oldest, CloseReason.replaced.code, CloseReason.replaced.advice)
        }
        return true
    }

    /// Registers a connection.
    ///
    /// If there is another one with the same id, the newer one wins; the older one is closed with 4409.
    package func add(_ connection: WebSocketConnection) {
        if let older = store.remove(connection.id), older.handle != connection.handle {
            observer?(.disconnected(older.id, user: older.user, code: CloseReason.replaced.code))
            close(older, code: CloseReason.replaced.code, reason: CloseReason.replaced.advice)
        }
        store.insert(connection)
        observer?(.added(connection.id, user: connection.user))
    }

    /// Returns true if a user has as many connections as may be.
    package func isFull(user: String) -> Bool {
        limits.connectionsPerUser > 0 && store.count(ofUser: user) >= limits.connectionsPerUser
    }

    /// Gives a connection another socket: its session goes on there, in the same rooms, with this metadata.
    package func move(_ id: ConnectionID, to handle: Int, metadata: String?) {
        store.update(id) { connection in
            connection.handle = handle
            if connection.metadata != metadata { connection.metadata = metadata }
        }
    }

    /// Gives a connection another handle; it is known by that from now on.
    package func move(_ id: ConnectionID, to handle: Int) { store.update(id) { $0.handle = handle } }

    /// Forgets a connection whose socket is gone; nil if the id is unknown, or another socket has it by now.
    @discardableResult
    package func remove(_ id: ConnectionID, handle: Int) -> WebSocketConnection? {
        store[id]?.handle == handle ? remove(id) : nil
    }

    /// Forgets a connection whose socket is gone; nil if the id is unknown.
    @discardableResult
    package func remove(_ id: ConnectionID) -> WebSocketConnection? {
        guard let connection = store.remove(id) else { return nil }
        observer?(.removed(id))
        return connection
    }

    package func connection(_ id: ConnectionID) -> WebSocketConnection? { store[id] }

    /// Returns a user's connections, in the order in which they were added.
    package func connections(ofUser user: String) -> [WebSocketConnection] { store.connections(ofUser: user) }

    /// Registers a new connection of a user, under a new id.
    @discardableResult
    package func connect(
        user: String,
        handle: Int,
        now: Int64,
        makeID: (String) -> ConnectionID = ConnectionID.random(ofUser:)
    ) -> ConnectionInfo {
        let info = ConnectionInfo(connection: makeID(user), user: user, handle: handle)
        add(WebSocketConnection(id: info.connection, user: user, handle: handle, connectedAt: now, info: info))
        return info
    }

    /// Returns a user's connection through this socket.
    package func findConnection(user: String, handle: Int) -> WebSocketConnection? {
        store.connections(ofUser: user).first { $0.handle == handle }
    }

    // MARK: Disconnecting

    /// Closes a user's connection through this socket; false if there is none.
    @discardableResult
    package func disconnect(
        user: String,
        handle: Int,
        code: UInt16 = CloseReason.normal.code,
        reason: String = CloseReason.normal.advice
    ) -> Bool {
        guard let connection = findConnection(user: user, handle: handle) else {
            observer?(.connectionNotFound(user: user))
            return false
        }
        disconnect(connection, code, reason)
        return true
    }

    /// Closes every connection of a user, and returns how many there were.
    package func disconnect(user: String, code: UInt16, reason: String) -> Int {
        let connections = store.connections(ofUser: user)
        for connection in connections { disconnect(connection, code, reason) }
        return connections.count
    }

    /// Closes one connection; returns 1, or 0 if there is none.
    package func disconnect(connection id: ConnectionID, code: UInt16, reason: String) -> Int {
        guard let connection = store[id] else { return 0 }
        disconnect(connection, code, reason)
        return 1
    }

    /// Closes all connections.
    package func disconnectAll(_ reason: CloseReason) {
        var all: [WebSocketConnection] = []
        store.forEach { all.append(copy $0) }
        for connection in all { disconnect(connection, reason.code, reason.advice) }
    }

    private func disconnect(_ connection: WebSocketConnection, _ code: UInt16, _ reason: String) {
        guard store.remove(connection.id) != nil else { return }
        observer?(.disconnected(connection.id, user: connection.user, code: code))
        close(connection, code: code, reason: reason)
    }

    func close(_ connection: WebSocketConnection, code: UInt16, reason: String) {
        transport.close(connection.handle, code: code, reason: reason)
    }

    // MARK: Messages from clients

    /// Installs the handler of clients' messages, which returns false for messages that it does not know.
    package func install(handler: sending @escaping (borrowing WebSocketConnection, Span<UInt8>) throws -> Bool) {
        messageHandler = handler
    }

    /// Passes a client's message to the installed handler, whose failure does not close the connection.
    package func handle(_ text: Span<UInt8>, from id: ConnectionID) -> MessageHandling {
        guard let connection = store[id] else { return .unknownConnection }
        observer?(.handling(id, byteCount: text.count))
        guard let messageHandler else { return .unhandled }
        do {
            return try messageHandler(connection, text) ? .handled : .unhandled
        } catch {
            observer?(.handlerFailed(id))
            return .failed
        }
    }

    // MARK: Statistics

    /// Counts a message that came in from a client.
    package func received(byteCount: Int) {
        counters[.messagesReceived] += 1
        counters[.bytesReceived] += byteCount
    }

    /// Returns this manager's statistics; the totals agree with each other, because they all come from one store.
    package func statistics(byUser: Bool) -> ManagerStatistics {
        ManagerStatistics(
            connections: store.count,
            users: store.userCount,
            threads: store.rooms.count(of: .thread),
            jobs: store.rooms.count(of: .job),
            counters: counters,
            connectionsByUser: byUser ? store.countsByUser : nil
        )
    }

    /// What the indexes disagree about: this must always be empty.
    ///
    /// For tests.
    package var inconsistencies: [String] { store.inconsistencies }
}
