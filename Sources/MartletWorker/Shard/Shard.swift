internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// What this worker does as the owner of its users: carries out commands, and hears clients.
///
/// Runs inside of the manager's isolation: every method takes the manager that the turn has entered.
final class Shard {
    private let number: Int
    private let sockets: SocketTable
    private let heartbeatMilliseconds: Int

    init(number: Int, sockets: SocketTable, heartbeatInterval: UInt64) {
        self.number = number
        self.sockets = sockets
        heartbeatMilliseconds = Int(heartbeatInterval / 1_000_000)
    }

    // MARK: Commands

    /// Carries out a command for a user, a connection or everybody of this shard.
    func execute(_ command: Command, text: Span<UInt8>, on manager: isolated WebSocketManager) -> CommandReply {
        do throws(SendFailure) {
            switch command {
            case .sendToUser(let user): return .receipt(try manager.send(text, toUser: user))
            case .sendToConnection(let id): return .receipt(try manager.send(text, toConnection: id))
            case .broadcast(let excluded): return .receipt(try manager.broadcast(text, excluding: excluded))
            case .listConnections(let user):
                return .connections(manager.connections(ofUser: user).map { summary(of: $0) })
            case .describe(let id):
                guard let connection = manager.connection(id) else { return .failed(.unknownConnection) }
                return .connections([summary(of: connection)])
            case .disconnectUser(let user, let code, let reason):
                return .closed(manager.disconnect(user: user, code: code, reason: reason))
            case .disconnectConnection(let id, let code, let reason):
                return .closed(manager.disconnect(connection: id, code: code, reason: reason))
            case .statistics(let byUser):
                return .shard(statistics(byUser: byUser, of: manager))
            }
        } catch {
            return .failed(error == .tooLarge ? .messageTooLarge : .overloaded)
        }
    }

    private func summary(of connection: WebSocketConnection) -> ConnectionSummary {
        ConnectionSummary(
            id: connection.id,
            user: connection.user,
            shard: number,
            connectedAt: connection.connectedAt,
            thread: connection.thread,
            queuedBytes: sockets.queuedBytes(connection.handle)
        )
    }

    /// What the worker knows of itself; the supervisor completes it.
    func statistics(byUser: Bool, of manager: isolated WebSocketManager) -> ShardStatistics {
        let known = manager.statistics(byUser: byUser)
        var statistics = ShardStatistics()
        statistics.shard = number
        statistics.pid = CurrentProcess.pid
        statistics.state = .serving
        statistics.connections = known.connections
        statistics.users = known.users
        statistics.counters = known.counters
        statistics.counters.messagesDropped += sockets.droppedFrames
        statistics.connectionsByUser = known.connectionsByUser
        statistics.queueBytes = sockets.queuedBytes
        statistics.slotsInUse = sockets.count
        statistics.residentBytes = CurrentProcess.residentBytes()
        statistics.cpuNanoseconds = Clock.processNanoseconds()
        return statistics
    }

    // MARK: Clients

    /// A socket becomes a connection of ours: registered, greeted, heard.
    ///
    /// False where there is no room for it.
    func adopt(_ descriptor: Int32, _ ticket: AdoptionTicket, on manager: isolated WebSocketManager) -> Bool {
        let now = Clock.unixMilliseconds()
        let id = ConnectionID(slot: ShardMap.slot(ofUser: ticket.user), random: CurrentProcess.random())
        guard let slot = sockets.adopt(descriptor, ticket, id: id, now: now) else { return false }
        if ticket.service == .messages {
            manager.add(
                WebSocketConnection(
                    id: id,
                    user: ticket.user,
                    handle: slot,
                    connectedAt: now,
                    thread: ticket.thread
                )
            )
            let greeting = ServerMessage.connectionEstablished(
                connection: id.text,
                user: ticket.user,
                heartbeatMilliseconds: heartbeatMilliseconds,
                now: now
            )
            sockets.queue(.text, greeting.span, to: slot)
        }
        if !ticket.leftover.isEmpty {
            sockets.receiveLeftover(slot) { self.received($0, $1, from: slot, on: manager) }
            settle(slot, on: manager)
        }
        return true
    }

    /// Epoll has something for a socket.
    func ready(_ slot: Int, _ event: EventLoop.Event, on manager: isolated WebSocketManager) {
        if event.isWritable { sockets.flush(slot) }
        if event.isReadable { sockets.receive(slot) { self.received($0, $1, from: slot, on: manager) } }
        settle(slot, on: manager)
    }

    /// A connection that began to close takes no further messages: it leaves the manager at once.
    private func settle(_ slot: Int, on manager: isolated WebSocketManager) {
        if !sockets.isOpen(slot) { manager.remove(sockets.locals[slot].id) }
    }

    /// Frees what is over, at the turn's end.
    func release(on manager: isolated WebSocketManager) {
        while true {
            let gone = sockets.takeGone()
            if gone.isEmpty { return }
            for slot in gone {
                manager.remove(sockets.locals[slot].id)
                sockets.release(slot)
            }
        }
    }

    private func received(
        _ opcode: Opcode,
        _ payload: Span<UInt8>,
        from slot: Int,
        on manager: isolated WebSocketManager
    ) {
        if sockets.arena.slot(slot).flags.contains(.echo) {
            sockets.queue(opcode, payload, to: slot)
            return
        }
        manager.received(byteCount: payload.count)
        if opcode == .binary {
            let reason = CloseReason.unsupportedData
            sockets.close(slot, code: reason.code, reason: reason.advice)
            return
        }
        switch ClientMessage(payload) {
        case .ping: sockets.queue(.text, ServerMessage.pong(now: Clock.unixMilliseconds()).span, to: slot)
        case .unsupported(let type):
            let message = type.map { "no handler for messages of type \($0.prefix(64))" } ?? "a message needs a type"
            sockets.queue(.text, ServerMessage.error(code: "unsupported_type", message: message).span, to: slot)
        case .malformed(let failure):
            let message = "\(failure.why), at byte \(failure.offset)"
            sockets.queue(.text, ServerMessage.error(code: "invalid_json", message: message).span, to: slot)
        }
    }
}
