// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The worker as the owner of its users: it carries out commands, handles clients' messages, and checks their health.
///
/// It runs inside the manager's isolation: every method takes the manager that the turn has entered.
final class Shard {
    let number: Int
    let contract: BirthContract
    let sockets: SocketTable
    let board: NodeBoard
    let tally: Tally
    let messageLimit: MessageLimit?
    var gatekeeper: Gatekeeper?
    /// For the ids of connections.
    var randoms = RandomNumbers()
    private let link: Link
    /// The record of what has been done, for a successor.
    let record: ShardRecord

    // The state of Shard+Health.
    var pings = DeadlineQueue()
    var pongs = DeadlineQueue()
    var expiries = TimerHeap()
    /// The positions in the streams of events at which heartbeats end that may not be acknowledged yet, by slot.
    var heartbeats: [Int: UInt64] = [:]
    var healthTimer: UInt64?
    /// When the pings were queued that have not been sent yet.
    var pingedAt: UInt64?
    /// Until when no client counts as silent.
    var patientUntil: UInt64 = 0

    /// The number of the last changes of rooms that the switchboard was told.
    private var roomsTold: UInt64 = 0
    private var roomsNoted: UInt64 = 0
    /// Connections whose output waits until the switchboard knows about the rooms that they joined.
    private var held: [(told: UInt64, slot: Int, generation: UInt32, since: UInt64)] = []

    /// How many clients the next worker can take over, whatever the limit of the node is.
    let mostSockets: Int
    private let descriptors: DescriptorCount
    /// How many descriptors a worker has besides its clients' sockets: listeners, memory, sockets to the supervisor.
    private static let otherDescriptors = 20

    init(
        contract: BirthContract,
        mostSockets: Int,
        descriptorLimit: Int,
        sockets: SocketTable,
        board: NodeBoard,
        link: Link,
        tally: Tally
    ) {
        number = Int(contract.shard)
        self.contract = contract
        self.mostSockets = mostSockets
        descriptors = DescriptorCount(limit: descriptorLimit)
        self.sockets = sockets
        self.board = board
        self.link = link
        self.tally = tally
        record = ShardRecord(arena: sockets.arena)
        messageLimit = MessageLimit(
            perSecond: Int(contract.limits.messagesPerSecond),
            burst: Int(contract.limits.messageBurst)
        )
    }

    // MARK: Commands

    /// Carries out a request of another process, and remembers the answer until that process surely has it.
    func execute(
        _ request: Request,
        text: Span<UInt8>,
        for asker: PeerHeader,
        on manager: isolated WebSocketManager
    ) -> CommandReply {
        if isBlamed(asker) { return refuse { self.record.remember($0, for: asker) } }
        return execute(request, text: text, on: manager) { reply in self.record.remember(reply, for: asker) }
    }

    /// Returns true if this request has already ended workers, since the requester sends it again each time.
    func isBlamed(_ asker: PeerHeader) -> Bool {
        record.journal.beginAsked(source: asker.source, correlation: asker.correlation) >= Self.mostAttempts
    }

    /// Refuses a request that is not tried again; it counts as a delivery that reached nobody.
    func refuse(_ note: (CommandReply) -> Void) -> CommandReply {
        record.journal.endAsked()
        record.journal.begin()
        defer { record.journal.commit() }
        note(.failed(.poisonous))
        return .failed(.poisonous)
    }

    /// Carries out a request for a user, a connection, a room or all connections of this shard.
    ///
    /// A request with a key is carried out once; a repeated one gets the first answer. What `note` records becomes
    /// valid together with what was done, or not at all.
    func execute(
        _ request: Request,
        text: Span<UInt8>,
        on manager: isolated WebSocketManager,
        _ note: (CommandReply) -> Void = { _ in }
    ) -> CommandReply {
        record.journal.begin()
        defer { record.journal.commit() }
        let reply = executeOnce(request, text: text, on: manager)
        note(reply)
        return reply
    }

    private func executeOnce(
        _ request: Request,
        text: Span<UInt8>,
        on manager: isolated WebSocketManager
    ) -> CommandReply {
        guard let key = request.key else { return execute(request.command, text: text, on: manager) }
        // The key of a publish to several shards differs from the same key of a publish to one of them.
        let name = (request.command.isSpread ? "several " : "one ") + key.text
        switch unsafe record.answers.find(name, fingerprint: key.fingerprint, now: sockets.loop.now) {
        case .known(let answer):
            tally.counters[.publishesRepeated] += 1
            return answer.reply
        case .conflict: return .failed(.keyReused)
        case .new: break
        }
        let reply = execute(request.command, text: text, on: manager)
        // A request that failed may be tried again.
        if case .receipt = reply {
            unsafe record.answers.remember(
                reply,
                key: name,
                fingerprint: key.fingerprint,
                delivery: record.journal.begun,
                slot: request.command.userSlot,
                now: sockets.loop.now
            )
            tally.counters[.idempotencyForgotten] = record.answers.forgottenEarly
        }
        return reply
    }

    private func execute(
        _ command: Command,
        text: Span<UInt8>,
        on manager: isolated WebSocketManager
    ) -> CommandReply {
        do throws(SendFailure) {
            switch command {
            case .sendToUser(let user): return .receipt(try manager.send(text, toUser: user))
            case .sendToConnection(let id): return .receipt(try manager.send(text, toConnection: id))
            case .sendToRoom(let room): return .receipt(try send(text, to: room, on: manager))
            case .broadcast(let excluded): return .receipt(try manager.broadcast(text, excluding: excluded))
            case .listConnections(let user):
                return .connections(manager.connections(ofUser: user).map { summary(of: $0, manager) })
            case .describe(let id):
                guard let connection = manager.connection(id) else { return .failed(.unknownConnection) }
                return .connections([summary(of: connection, manager)])
            case .disconnectUser(let user, let code, let reason):
                return .closed(manager.disconnect(user: user, code: code, reason: reason))
            case .disconnectConnection(let id, let code, let reason):
                return .closed(manager.disconnect(connection: id, code: code, reason: reason))
            case .bind(let user, let thread):
                let entry = manager.bind(user: user, toThread: thread)
                if entry == .joined, !record.bind(user: user, thread: thread) {
                    // A binding that a successor would not know about is not promised.
                    manager.unbind(user: user, fromThread: thread)
                    return .failed(.overloaded)
                }
                announceRooms(on: manager)
                return entry == .tooMany ? .failed(.tooManyRooms) : .bound(entry == .joined)
            case .unbind(let user, let thread):
                let changed = manager.unbind(user: user, fromThread: thread)
                if changed { record.unbind(user: user, thread: thread) }
                // This includes connections that joined themselves, because the requester relies on the user being out.
                let left = manager.leave(.thread(thread), user: user)
                for connection in left { tellOfLeaving(.thread(thread), connection.handle) }
                announceRooms(on: manager)
                return left.isEmpty ? .bound(changed) : .left(left.count)
            case .statistics, .batch, .makeToken, .checkToken, .fromClient: return .failed(.malformed)
            }
        } catch {
            return .failed(error == .tooLarge ? .messageTooLarge : .overloaded)
        }
    }

    /// Sends a message to a room; a lone shard may send one for an empty thread to the user with its id.
    ///
    /// If there are several shards, the switchboard does this.
    private func send(
        _ text: Span<UInt8>,
        to room: Room,
        on manager: isolated WebSocketManager
    ) throws(SendFailure) -> Delivery {
        guard room.kind == .thread, contract.shardCount == 1, contract.api.threadReachesUser else {
            return try manager.send(text, toRoom: room)
        }
        return try manager.send(text, toThread: room.id)
    }

    private func summary(of connection: WebSocketConnection, _ manager: isolated WebSocketManager) -> ConnectionSummary
    {
        let slot = sockets.arena.slot(connection.handle)
        let silence = Int64((unsafe sockets.loop.now &- slot.lastReceived) / 1_000_000)
        var summary = ConnectionSummary(
            id: connection.id,
            user: connection.user,
            shard: number,
            connectedAt: connection.connectedAt,
            lastSeenAt: Clock.unixMilliseconds() - silence
        )
        summary.expiresAt = slot.expiresAt == 0 ? nil : slot.expiresAt
        summary.thread = connection.thread
        summary.origin = (try? sockets.arena.bearer(of: slot))?.origin
        let rooms = manager.rooms(of: connection.id)
        summary.threads = rooms.filter { $0.kind == .thread }.map(\.id)
        summary.jobs = rooms.filter { $0.kind == .job }.map(\.id)
        summary.metadata = connection.metadata
        summary.queuedMessages = sockets.arena.queueCount(of: slot)
        summary.queuedBytes = sockets.queuedBytes(connection.handle)
        summary.roundTrip = slot.roundTrip == 0 ? nil : Int(slot.roundTrip)
        summary.session = session(of: slot)
        return summary
    }

    /// Returns what this shard knows about itself.
    func statistics(byUser: Bool, of manager: isolated WebSocketManager) -> ShardStatistics {
        let known = manager.statistics(byUser: byUser)
        var statistics = ShardStatistics()
        statistics.shard = number
        statistics.pid = CurrentProcess.pid
        statistics.state = .serving
        statistics.connections = max(0, known.connections - sockets.waitingCount)
        statistics.sessionsWaiting = sockets.waitingCount
        statistics.heldBytes = sockets.sessionBytes
        statistics.users = known.users
        statistics.threads = known.threads
        statistics.jobs = known.jobs
        statistics.counters = known.counters
        statistics.counters.merge(tally.counters)
        statistics.connectionsByUser = known.connectionsByUser
        statistics.queueBytes = sockets.queuedBytes
        statistics.slotsInUse = sockets.count
        statistics.arenaBytes = sockets.arena.chunkBytesInUse
        statistics.residentBytes = CurrentProcess.residentBytes()
        statistics.cpuNanoseconds = Clock.processNanoseconds()
        statistics.openDescriptors = descriptors.current(known: sockets.count + Self.otherDescriptors)
        statistics.descriptorLimit = descriptors.limit
        return statistics
    }

    // MARK: Rooms

    /// Tells the switchboard which rooms have members here now.
    func announceRooms(on manager: isolated WebSocketManager) {
        let changes = manager.takeRoomChanges()
        // If the shard is alone, nobody else needs to know.
        if changes.isEmpty || contract.shardCount == 1 { return }
        roomsTold += 1
        let pieces = RoomChanges.pieces(of: changes, largest: Fault.roomsPiece)
        for (index, piece) in pieces.enumerated() {
            link.send(.rooms, piece.bytes, correlation: index == pieces.count - 1 ? roomsTold : 0)
        }
    }

    /// Tells the switchboard all rooms, which replace those that it knew from the previous worker.
    func announceAllRooms(on manager: isolated WebSocketManager) {
        _ = manager.takeRoomChanges()
        if contract.shardCount == 1 { return }
        let rooms = manager.rooms.map { RoomChange(room: $0, isOccupied: true) }
        let pieces = RoomChanges.pieces(of: rooms, largest: Fault.roomsPiece)
        for (index, piece) in pieces.enumerated() {
            link.send(.allRooms, piece.bytes, correlation: UInt64(pieces.count - 1 - index))
        }
        // The previous supervisor may not have noted everything that it was told.
        if roomsTold > roomsNoted { link.send(.rooms, RoomChanges([]).bytes, correlation: roomsTold) }
    }

    /// Holds a connection's output after it joined rooms, until publishes to these rooms reach it.
    func joined(_ slot: Int, on manager: isolated WebSocketManager) {
        announceRooms(on: manager)
        guard roomsTold > roomsNoted else { return }
        sockets.hold(slot)
        unsafe held.append((roomsTold, slot, sockets.locals[slot].generation, sockets.loop.now))
    }

    /// Notes that the switchboard has noted changes of rooms, and releases the connections that waited for this.
    func roomsNoted(_ correlation: UInt64) {
        roomsNoted = max(roomsNoted, correlation)
        release(held.prefix { $0.told <= roomsNoted }.count)
    }

    /// Releases connections that have waited too long, so that a supervisor that hangs does not keep clients waiting.
    func releaseHeld(before now: UInt64) {
        release(held.prefix { $0.since + 1_000_000_000 <= now }.count)
    }

    private func release(_ count: Int) {
        guard count > 0 else { return }
        let released = held.prefix(count)
        held.removeFirst(count)
        for entry in released where sockets.isCurrent(entry.slot, generation: entry.generation & 0xFF_FFFF) {
            // It may have joined another room since then.
            let isHeldAgain = held.contains { $0.slot == entry.slot && $0.generation == entry.generation }
            if !isHeldAgain { sockets.unhold(entry.slot) }
        }
    }
}
