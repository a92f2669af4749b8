// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How clients become connections of the shard, and are counted.

extension Shard {
    /// Makes a socket a connection of ours: it is counted, registered and greeted, and its messages are handled.
    ///
    /// Throws if there is no room for it; then the caller keeps the socket.
    func adopt(
        _ descriptor: Int32,
        _ ticket: AdoptionTicket,
        _ gatekeeper: Gatekeeper,
        on manager: isolated WebSocketManager
    ) throws(HTTPProblem) {
        self.gatekeeper = gatekeeper
        // An echo has other limits, and another worker may send any ticket.
        if ticket.service == .echo, !contract.isDevelopment { throw .notFound }
        var ticket = ticket
        // A session that goes on has the rooms that it had, in place of these.
        let asked = ticket.resume == nil ? nil : (thread: ticket.bearer.thread, job: ticket.bearer.job)
        let session = beginSession(&ticket, gatekeeper, manager)
        let place = try countIn(ticket, isResuming: session?.resumption != nil, manager)
        let now = Clock.unixMilliseconds()
        let bearer = ticket.bearer
        let id = session?.id ?? ConnectionID(userSlot: ShardMap.userSlot(of: bearer.user), random: randoms.next())
        let isClient = ticket.service == .messages
        let slot: Int
        do throws(SocketTable.Refusal) {
            slot = try sockets.adopt(
                descriptor,
                ticket,
                id: id,
                place: place,
                greeting: isClient ? greeting(id, bearer, session, now) : nil,
                tokens: session?.tokens,
                resuming: session?.resumption,
                now: now
            )
        } catch {
            countOut(place)
            switch error {
            case .overflow:
                // The session has ended, and its client is told so in the greeting of a new one.
                if let resumption = session?.resumption { endLost(resumption.slot, id, manager) }
                ticket.bearer.thread = asked?.thread
                ticket.bearer.job = asked?.job
                return try adopt(descriptor, ticket, gatekeeper, on: manager)
            case .full:
                // Whoever waits makes room for those who are here, from the next turn on.
                sockets.endOldestWaiting(except: session?.resumption?.slot)
                throw Self.full
            case .miscounted: throw .badRequest("urgent data (MSG_OOB) came before the answer: do not send any")
            }
        }
        if ticket.accepted == nil { tally.counters[.eventStreamsOpened] += 1 }
        if session?.resumption != nil {
            tally.counters[.connectionsOpened] += 1
            tally.counters[.sessionsResumed] += 1
            manager.move(id, to: slot, metadata: bearer.metadata)
            watchHealth(of: slot)
        } else if isClient {
            register(slot, id, bearer, now: now, manager)
        }
        if !ticket.leftover.isEmpty {
            sockets.readReceived(
                slot,
                { self.judge($0, byteCount: $1, from: slot, on: manager) },
                { self.received($0, $1, from: slot, on: manager) }
            )
            settle(slot, on: manager)
        }
    }

    private static let full = HTTPProblem(503, at: .connections, "the server has reached its limit of connections")
        .with("Retry-After", "5")

    /// Counts a connection against the limits of the node, the address and the user.
    ///
    /// Returns the place where its address is counted.
    ///
    /// A session that is resumed was counted before: only what a process can do limits it.
    private func countIn(
        _ ticket: AdoptionTicket,
        isResuming: Bool,
        _ manager: isolated WebSocketManager
    ) throws(HTTPProblem) -> Int? {
        guard sockets.count < mostSockets,
            board.openConnection(shard: number, limit: isResuming ? .max : Int(contract.limits.connections))
        else { throw Self.full }
        var place: Int?
        if ticket.address != 0 {
            let limit = isResuming ? .max : Int(contract.limits.connectionsPerAddress)
            place = board.openAddress(ticket.address, shard: number, limit: limit)
            if place == nil {
                board.closeConnection(shard: number)
                throw HTTPProblem(
                    429,
                    at: .connectionsOfAddress,
                    "this address already has \(limit) connections, which is the limit"
                ).with("Retry-After", "5")
            }
        }
        if ticket.service == .messages, !isResuming, !admit(user: ticket.bearer.user, manager) {
            countOut(place)
            throw HTTPProblem(
                429,
                at: .connectionsOfUser,
                "this user already has \(contract.limits.connectionsPerUser) connections, which is the limit"
            ).with("Retry-After", "5")
        }
        return place
    }

    /// Makes room for one more connection of a user: first its oldest session goes that waits.
    private func admit(user: String, _ manager: isolated WebSocketManager) -> Bool {
        while manager.isFull(user: user),
            let oldest = manager.connections(ofUser: user).filter({ sockets.isWaiting($0.handle) })
                .min(by: { waitingSince($0) < waitingSince($1) })
        {
            tally.counters[.sessionsEvicted] += 1
            manager.remove(oldest.id)
            sockets.markGone(oldest.handle)
        }
        return manager.admit(user: user)
    }

    private func waitingSince(_ connection: WebSocketConnection) -> UInt64 {
        sockets.arena.slot(connection.handle).waitingSince
    }

    func countOut(_ place: Int?) {
        board.closeConnection(shard: number)
        if let place { board.closeAddress(at: place, shard: number) }
    }

    private func register(
        _ slot: Int,
        _ id: ConnectionID,
        _ bearer: Bearer,
        now: Int64,
        _ manager: isolated WebSocketManager
    ) {
        tally.counters[.connectionsOpened] += 1
        let connection = WebSocketConnection(
            id: id,
            user: bearer.user,
            handle: slot,
            connectedAt: now,
            thread: bearer.thread,
            metadata: bearer.metadata
        )
        manager.add(connection)
        let rooms = bearer.rooms
        for room in rooms { _ = manager.join(room, connection: id) }
        if !rooms.isEmpty { keepRooms(slot, manager) }
        if !rooms.isEmpty { joined(slot, on: manager) }
        watchHealth(of: slot)
    }

    private func greeting(_ id: ConnectionID, _ bearer: Bearer, _ session: SessionStart?, _ now: Int64) -> [UInt8] {
        ServerMessage.connectionEstablished(
            connection: id.text,
            bearer: bearer,
            heartbeatMilliseconds: Int(contract.timing.heartbeatInterval / 1_000_000),
            session: session.map { message(about: $0, of: id) },
            now: now
        )
    }
}
