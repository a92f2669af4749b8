// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

/// A client's socket that records what it is sent, and fails when it is told to.
final class FakeSocket: ClientSocket {
    private(set) var texts: [String] = []
    private(set) var closes: [UInt16] = []
    var failure: SendFailure?
    var isOpen: Bool { closes.isEmpty }

    func send(_ text: String) -> SendFailure? {
        if let failure { return failure }
        texts.append(text)
        return nil
    }

    func close(code: UInt16, reason: String) { closes.append(code) }
}

/// The events that a manager has reported.
final class EventList: @unchecked Sendable {
    // Unchecked: written on the manager's executor, read by tests after awaiting the manager.
    var all: [ManagerEvent] = []
}

/// A manager over fake sockets, with the list of its events, and with ways to run code on its executor.
final class ManagerFixture: @unchecked Sendable {
    // Unchecked: sockets and events are touched on the manager's executor, or while nothing runs on it.
    let sockets = SocketSet()
    let manager: WebSocketManager
    private let log = EventList()
    private var byHandle: [Int: FakeSocket] = [:]

    init(_ limits: WebSocketManager.Limits = .init()) {
        nonisolated(unsafe) let transport: any Transport = sockets
        let log = log
        var limits = limits
        limits.recordsRoomChanges = true
        manager = WebSocketManager(executor: SerialQueue(), transport: transport, limits: limits) { log.all.append($0) }
    }

    /// All events of the manager, in order.
    var events: [ManagerEvent] { log.all }

    /// Adds a new socket, and returns its handle.
    func socket(failing failure: SendFailure? = nil) -> Int {
        let socket = FakeSocket()
        socket.failure = failure
        let handle = sockets.insert(socket)
        byHandle[handle] = socket
        return handle
    }

    func fake(_ handle: Int) -> FakeSocket { byHandle[handle] ?? FakeSocket() }
    func forgetSockets() { byHandle = [:] }

    /// Registers a connection over a new socket, and returns the handle.
    @discardableResult
    func add(_ id: String, _ user: String, failing failure: SendFailure? = nil) async -> Int {
        let handle = socket(failing: failure)
        await manager.add(id, user: user, handle: handle)
        return handle
    }

    func texts(_ handle: Int) -> [String] { fake(handle).texts }

    func ids(_ user: String) async -> [String] { await manager.connections(ofUser: user).map(\.id.text) }

    /// Checks that all indexes agree.
    func check(_ location: SourceLocation = #_sourceLocation) async {
        let found = await manager.inconsistencies
        #expect(found == [], sourceLocation: location)
    }
}

extension WebSocketManager {
    /// Runs in the manager's isolation.
    func perform<Result: Sendable>(_ body: @Sendable (isolated WebSocketManager) throws -> Result) rethrows -> Result {
        try body(self)
    }

    func send(_ text: String, toRoom room: Room) throws -> Delivery { try send(Array(text.utf8).span, toRoom: room) }
    func send(_ text: String, toThread id: String) throws -> Delivery {
        try send(Array(text.utf8).span, toThread: id)
    }
    func handle(_ text: String, from id: String) -> MessageHandling {
        handle(Array(text.utf8).span, from: ConnectionID(id))
    }
}
