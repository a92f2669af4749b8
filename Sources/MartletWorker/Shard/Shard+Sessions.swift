// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// Sessions: who may resume one, what a client confirms, and where the manager finds them.

extension Shard {
    /// What a client that has asked for a session gets.
    struct SessionStart {
        /// The connection that goes on; nil: it is a new one.
        var id: ConnectionID?
        /// Nil: there are no sessions.
        var tokens: SessionTokens?
        var resumption: SocketTable.Resumption?
        var problem: ResumeProblem?
        /// How many of the client's messages were handled.
        var handled: UInt32 = 0
    }

    /// Decides what session a client gets; nil if it asked for none.
    ///
    /// A session that goes on has the rooms that it had, and what the new token says otherwise. A session that this user
    /// cannot resume ends.
    func beginSession(
        _ ticket: inout AdoptionTicket,
        _ gatekeeper: Gatekeeper,
        _ manager: isolated WebSocketManager
    ) -> SessionStart? {
        guard ticket.service == .messages, let offer = ticket.resume else { return nil }
        var start = SessionStart()
        if contract.client.resumeWindow > 0 { start.tokens = SessionTokens(newest: newSecret()) }
        guard case .resume(let token, let received) = offer else { return start }
        do throws(ResumeProblem) {
            let (slot, identity, tokens) = try find(token, of: ticket.bearer.user, manager)
            do throws(ResumeProblem) {
                let isAllowed = { (room: Room) in
                    gatekeeper.mayJoin(room, ticket.bearer)
                        || (room.kind == .thread && manager.isBound(user: ticket.bearer.user, toThread: room.id))
                }
                start.resumption = try resume(slot, identity, received: received, isAllowed: isAllowed)
                start.resumption?.isSure = token.secret == tokens.newest
            } catch {
                end(slot, token.connection, manager)
                throw error
            }
            start.id = token.connection
            start.handled = sockets.arena.slot(slot).messagesReceived
            if let secret = token.secret { start.tokens = tokens.after(secret, newest: newSecret()) }
            ticket.bearer.thread = identity.bearer.thread
            ticket.bearer.job = identity.bearer.job
        } catch {
            tally.counters[error.counter] += 1
            start.problem = error
        }
        return start
    }

    private func newSecret() -> SessionTokens.Secret { .init(high: randoms.next(), low: randoms.next()) }

    /// Finds the slot of a session by one of its tokens.
    func find(
        _ token: SessionToken,
        of user: String,
        _ manager: isolated WebSocketManager
    ) throws(ResumeProblem) -> (slot: Int, ArenaIdentity, SessionTokens) {
        guard contract.client.resumeWindow > 0, let secret = token.secret,
            token.connection.userSlot == ShardMap.userSlot(of: user)
        else { throw .unknown }
        guard let connection = manager.connection(token.connection) else {
            throw sockets.lostSessions.contains(token.connection) ? .overflow : .expired
        }
        if sockets.hasEnded(connection.handle) { throw .expired }
        let slot = sockets.arena.slot(connection.handle)
        guard connection.user.isExactly(user), let identity = try? sockets.arena.identity(ofSlot: connection.handle),
            let tokens = identity.session, slot.flags.contains(.session)
        else { throw .unknown }
        // Once a message came over the socket that the newest token was sent on, no other is needed.
        let good = slot.flags.contains(.tokenArrived) ? SessionTokens(newest: tokens.newest) : tokens
        guard secret == good.newest || good.earlier.contains(secret) else { throw .unknown }
        return (connection.handle, identity, good)
    }

    /// Throws unless a session can go on for a client that has received so many messages, in the rooms that it may be in.
    private func resume(
        _ index: Int,
        _ identity: ArenaIdentity,
        received: UInt32,
        isAllowed: (Room) -> Bool
    ) throws(ResumeProblem) -> SocketTable.Resumption {
        // A client keeps a job whose id we generated, because no token can name it.
        let kept = identity.bearer.job.flatMap { JobName.isGenerated($0) ? Room.job($0) : nil }
        guard identity.rooms.allSatisfy({ $0 == kept || isAllowed($0) }) else { throw .forbidden }
        guard let messages = sockets.arena.messages(after: received, of: sockets.arena.slot(index)) else {
            throw .overflow
        }
        if messages.isAhead { throw .ahead }
        return .init(slot: index, received: received, messages: messages.entries, rooms: identity.rooms)
    }

    /// Ends a session that its own client could not resume.
    private func end(_ index: Int, _ id: ConnectionID, _ manager: isolated WebSocketManager) {
        manager.remove(id)
        sockets.close(index, code: CloseReason.replaced.code, reason: CloseReason.replaced.advice)
    }

    /// Ends a session whose messages cannot all be sent again, and remembers that.
    func endLost(_ index: Int, _ id: ConnectionID, _ manager: isolated WebSocketManager) {
        sockets.noteLost(index)
        end(index, id, manager)
    }

    /// Returns what the first message says about a session.
    func message(about start: SessionStart, of id: ConnectionID) -> ServerMessage.Session {
        let outcome: ServerMessage.Session.Outcome =
            if let resumption = start.resumption {
                .resumed(replay: resumption.messages.count, received: start.handled)
            } else if let problem = start.problem {
                .refused(problem)
            } else {
                .new
            }
        return ServerMessage.Session(
            token: start.tokens.map { SessionToken(connection: id, secret: $0.newest) },
            windowMilliseconds: Int(contract.client.resumeWindow / 1_000_000),
            outcome: outcome
        )
    }

    /// Returns what a listing shows about a connection's session; nil: it has none.
    func session(of slot: ArenaSlot) -> ConnectionSummary.Session? {
        guard slot.flags.contains(.session) else { return nil }
        let waited = slot.state == .waiting ? unsafe Int64((sockets.loop.now - slot.waitingSince) / 1_000_000) : nil
        let sent = sockets.arena.entryCount(of: slot) - sockets.arena.queueCount(of: slot)
        return ConnectionSummary.Session(
            waitingSince: waited.map { Clock.unixMilliseconds() - $0 },
            resumes: Int(slot.resumes),
            unconfirmed: sent
        )
    }

    // MARK: Confirming

    /// Returns the number of the message that is being handled, if its client counts them.
    func number(of index: Int) -> UInt32? {
        let slot = sockets.arena.slot(index)
        return slot.flags.contains(.session) ? slot.messagesReceived : nil
    }

    /// Notes how many messages a session's client has received.
    func confirm(_ received: UInt32, _ index: Int) {
        let slot = sockets.arena.slot(index)
        guard slot.flags.contains(.session) else {
            return complain("no_session", "this connection has no session: offer resume.new", to: index)
        }
        let before = slot.kept.messages
        guard sockets.confirm(received, of: slot) else {
            return complain(
                "ahead",
                "fewer messages were sent on this connection: every text but the first counts",
                to: index
            )
        }
        refund(index, confirmed: slot.kept.messages &- before)
    }

    /// How many messages an acknowledgement confirms that costs nothing of the client's rate, however often they come.
    private static let worthwhile: UInt32 = 32

    /// Gives back what an acknowledgement has cost, if it confirms many messages, or is the first of this second.
    private func refund(_ index: Int, confirmed: UInt32) {
        guard let messageLimit else { return }
        let second = UInt8(truncatingIfNeeded: unsafe sockets.loop.now / 1_000_000_000)
        guard confirmed >= Self.worthwhile || sockets.locals[index].acknowledged != second else { return }
        sockets.locals[index].acknowledged = second
        let slot = sockets.arena.slot(index)
        var state = slot.rateState
        messageLimit.refund(&state)
        slot.rateState = state
    }

    // MARK: Moving

    /// Lets the manager find the sessions that have moved to other slots in this turn.
    func followMoves(on manager: isolated WebSocketManager) {
        for (from, to) in sockets.takeMoves() {
            let id = sockets.id(to)
            if manager.connection(id)?.handle == from { manager.move(id, to: to) } else { sockets.markGone(to) }
        }
    }
}
