// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// Clients: what they send, and how they leave.

extension Shard {
    /// Handles an event of a connection's socket.
    ///
    /// `isLate` means that the turn has no time left for it.
    func ready(_ slot: Int, _ event: EventLoop.Event, isLate: Bool, on manager: isolated WebSocketManager) {
        if event.isWritable { sockets.flush(slot) }
        if event.isReadable {
            if isLate { return sockets.putOff(slot) }
            sockets.receive(
                slot,
                { self.judge($0, byteCount: $1, from: slot, on: manager) },
                { self.received($0, $1, from: slot, on: manager) }
            )
        }
        settle(slot, on: manager)
    }

    /// Reads from the connections that were put off, one after another, for as long as their share of the turn lasts.
    func serveLater(on manager: isolated WebSocketManager) {
        if sockets.later.isEmpty { return }
        let end = Clock.monotonicNanoseconds() + LaterQueue.share
        // Each is read once: a connection that is put off again waits for the next turn.
        for _ in 0..<sockets.later.count {
            guard let slot = sockets.takeLater() else { continue }
            sockets.readLate(
                slot,
                { self.judge($0, byteCount: $1, from: slot, on: manager) },
                { self.received($0, $1, from: slot, on: manager) }
            )
            settle(slot, on: manager)
            if Clock.monotonicNanoseconds() >= end { return }
        }
    }

    /// Removes a connection that has begun to close from the manager, because it takes no further messages; a session
    /// goes on taking them.
    func settle(_ slot: Int, on manager: isolated WebSocketManager) {
        followMoves(on: manager)
        if !sockets.isOpen(slot), !sockets.isSession(slot) { manager.remove(sockets.id(slot), handle: slot) }
    }

    /// Frees the connections that are over, at the end of the turn; a session waits instead, if it has not ended.
    func release(on manager: isolated WebSocketManager) {
        followMoves(on: manager)
        for index in sockets.takeRefused() { settle(index, on: manager) }
        sockets.boundSessions()
        while true {
            let gone = sockets.takeGone()
            if gone.isEmpty { return }
            for index in gone { release(index, on: manager) }
        }
    }

    private func release(_ index: Int, on manager: isolated WebSocketManager) {
        let slot = sockets.arena.slot(index)
        let id = sockets.id(index)
        // Otherwise messages for its user would go to whoever gets the slot next.
        precondition(!id.text.isEmpty || slot.flags.contains(.echo), "the identity of a connection is damaged")
        if slot.state == .waiting {
            manager.remove(id, handle: index)
            return sockets.forget(index)
        }
        if !slot.flags.contains(.echo) {
            tally.counters.closed(with: slot.closeCode == 0 ? CloseLabel.abnormal : slot.closeCode)
        }
        countOut(slot.addressPlace >= 0 ? Int(slot.addressPlace) : nil)
        if slot.flags.contains(.session) {
            sockets.beginWaiting(index)
        } else {
            manager.remove(id, handle: index)
            sockets.release(index)
        }
    }

    // MARK: Messages of clients

    /// Decides whether a client's message is handled, before anything is done for it.
    func judge(
        _ opcode: Opcode,
        byteCount: Int,
        from slot: Int,
        on manager: isolated WebSocketManager
    ) -> Bool {
        if sockets.arena.slot(slot).flags.contains(.echo) { return true }
        let number = opcode == .text ? number(of: slot) : nil
        guard isWithinRate(slot, isTold: opcode != .continuation && opcode != .pong, number: number) else {
            return false
        }
        if opcode != .binary { return true }
        manager.received(byteCount: byteCount)
        close(slot, .unsupportedData)
        return false
    }

    func received(
        _ opcode: Opcode,
        _ payload: Span<UInt8>,
        from slot: Int,
        on manager: isolated WebSocketManager
    ) {
        if sockets.arena.slot(slot).flags.contains(.echo) {
            sockets.queue(opcode == .ping ? .pong : opcode, payload, to: slot)
            return
        }
        if opcode == .ping {
            sockets.queue(.pong, payload, to: slot)
            return
        }
        manager.received(byteCount: payload.count)
        charge(slot, payload.count)
        Fault.at(.message, payload)
        switch ClientMessage(payload) {
        case .ping(let received):
            if let received { confirm(received, slot) }
            say(ServerMessage.pong(now: Clock.unixMilliseconds(), received: number(of: slot)), to: slot)
        case .ack(let received): confirm(received, slot)
        case .join(let room): join(room, slot, manager)
        case .leave(let room): leave(room, slot, manager)
        case .authenticate(let token): authenticate(token, slot, manager)
        case .unsupported(let type): handle(payload, type, slot, manager)
        case .incomplete(let what): complain("malformed", what, to: slot)
        case .malformed(let failure): complain("invalid_json", "\(failure.why), at byte \(failure.offset)", to: slot)
        }
    }

    func say(_ message: [UInt8], to slot: Int) { sockets.queue(.text, message.span, to: slot) }

    /// Tells a client what was wrong with the message that is being handled.
    func complain(_ code: String, _ message: String, to slot: Int) {
        say(ServerMessage.error(code: code, message: message, number: number(of: slot)), to: slot)
    }

    func close(_ slot: Int, _ reason: CloseReason) { sockets.close(slot, reason) }

    /// Closes a connection whose session must not go on, because something was lost that its client could not know.
    func closeForGood(_ slot: Int, _ reason: CloseReason) {
        sockets.noteLost(slot)
        sockets.close(slot, code: reason.code, reason: reason.advice)
    }

    /// Returns false if the client exceeds its rate; then it has been told, if `isTold`, or its connection is closing.
    ///
    /// `number` is that of the message, if it is one of a session.
    private func isWithinRate(_ index: Int, isTold: Bool, number: UInt32?) -> Bool {
        guard let messageLimit else { return true }
        let slot = sockets.arena.slot(index)
        var (state, strikes) = (slot.rateState, slot.strikes)
        let verdict = unsafe messageLimit.judge(&state, strikes: &strikes, now: sockets.loop.now)
        slot.rateState = state
        slot.strikes = strikes
        switch verdict {
        case .pass: return true
        case .refuse(let wait):
            if isTold { say(ServerMessage.rateLimited(waitMilliseconds: wait, number: number), to: index) }
        case .close: close(index, .tooManyMessages)
        }
        tally.counters[.messagesRateLimited] += 1
        return false
    }

    /// Charges for the size that a message has when it is expanded, because a large message takes more of the rate.
    private func charge(_ index: Int, _ byteCount: Int) {
        guard let messageLimit, byteCount > MessageLimit.bytesPerEvent else { return }
        let slot = sockets.arena.slot(index)
        var state = slot.rateState
        unsafe messageLimit.charge(&state, byteCount: byteCount, now: sockets.loop.now)
        slot.rateState = state
    }

    /// Charges for a small message that costs as much as a large one, because the client's whole identity is copied.
    private func chargeIdentity(_ index: Int) {
        sockets.noteDear()
        charge(index, 2 * sockets.arena.identityByteCount(of: sockets.arena.slot(index)))
    }

    private func join(_ room: Room, _ slot: Int, _ manager: isolated WebSocketManager) {
        chargeIdentity(slot)
        guard let bearer = try? sockets.arena.bearer(of: sockets.arena.slot(slot)), let gatekeeper else {
            return close(slot, .internalError)
        }
        guard gatekeeper.mayJoin(room, bearer) else {
            return complain("forbidden", "the token does not name this \(room.kind.name)", to: slot)
        }
        let entry = manager.join(room, connection: sockets.id(slot))
        switch entry {
        case .joined, .alreadyThere:
            if entry == .joined, !sockets.arena.addRoom(room, to: sockets.arena.slot(slot)) {
                return closeForGood(slot, .tryAgainLater)
            }
            joined(slot, on: manager)
            say(ServerMessage.room(room, isJoined: true), to: slot)
        case .tooMany: complain("too_many_rooms", "a connection may be in at most 256 rooms", to: slot)
        case .unknown: return
        }
    }

    private func leave(_ room: Room, _ slot: Int, _ manager: isolated WebSocketManager) {
        chargeIdentity(slot)
        let id = sockets.id(slot)
        if room.kind == .thread, let user = manager.connection(id)?.user, manager.isBound(user: user, toThread: room.id)
        {
            complain("bound", "the backend has put this user into the thread: only the backend can end that", to: slot)
        } else if manager.leave(room, connection: id) || sockets.isRepeated(slot) {
            // A worker that ended just now may have removed it, but its answer did not count.
            tellOfLeaving(room, slot)
        } else {
            complain("not_in_\(room.kind.name)", "this connection is not in the \(room.kind.name)", to: slot)
        }
    }

    /// Tells a client that its connection has left a room.
    func tellOfLeaving(_ room: Room, _ slot: Int) {
        if !sockets.arena.removeRoom(room, from: sockets.arena.slot(slot)) { return closeForGood(slot, .tryAgainLater) }
        Fault.at(.left)
        say(ServerMessage.room(room, isJoined: false), to: slot)
    }

    /// Records in the slot which rooms its connection is in, for a successor.
    func keepRooms(_ index: Int, _ manager: isolated WebSocketManager) {
        guard var identity = try? sockets.arena.identity(ofSlot: index) else {
            return closeForGood(index, .internalError)
        }
        identity.rooms = manager.ownRooms(of: sockets.id(index))
        if !sockets.arena.setIdentity(identity, of: sockets.arena.slot(index)) { closeForGood(index, .tryAgainLater) }
    }

    /// Passes a message that we do not know to the handler, if one is installed.
    private func handle(_ payload: Span<UInt8>, _ type: String?, _ slot: Int, _ manager: isolated WebSocketManager) {
        switch manager.handle(payload, from: sockets.id(slot)) {
        case .handled, .unknownConnection: return
        case .unhandled:
            let message = type.map { "no handler for messages of type \($0.prefix(64))" } ?? "a message needs a type"
            complain("unsupported_type", message, to: slot)
        case .failed: complain("handler_failed", "the server could not handle the message", to: slot)
        }
    }

    /// Renews a client's token: its connection stays, and is in the rooms that the new token names.
    private func authenticate(_ token: String, _ index: Int, _ manager: isolated WebSocketManager) {
        let slot = sockets.arena.slot(index)
        chargeIdentity(index)
        guard var identity = try? sockets.arena.identity(ofSlot: index), let gatekeeper else {
            return close(index, .internalError)
        }
        let bearer: Bearer
        do throws(TokenProblem) {
            bearer = try gatekeeper.bearer(ofToken: token)
        } catch {
            return complain(error.code, error.detail, to: index)
        }
        let old = identity.bearer
        guard bearer.user.isExactly(old.user) else {
            return complain("forbidden", "the token belongs to another user", to: index)
        }
        identity.bearer.threads = bearer.threads
        identity.bearer.jobs = bearer.jobs
        identity.bearer.expiresAt = bearer.expiresAt
        guard sockets.arena.setIdentity(identity, of: slot) else { return closeForGood(index, .tryAgainLater) }
        slot.expiresAt = bearer.expiresAt
        slot.flags.remove(.expiryAnnounced)
        watchExpiry(of: index)
        let id = sockets.id(index)
        // A client keeps a job whose id we generated, because no token can name it.
        let kept = old.job.flatMap { JobName.isGenerated($0) ? Room.job($0) : nil }
        for room in old.rooms where room != kept && !gatekeeper.mayJoin(room, bearer) {
            manager.leave(room, connection: id)
        }
        for room in bearer.rooms { _ = manager.join(room, connection: id) }
        keepRooms(index, manager)
        joined(index, on: manager)
        say(ServerMessage.authenticated(until: bearer.expiresAt), to: index)
    }
}
