internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How a shard goes on where the worker before this one ended.

extension Shard {
    /// Crashes in the handling of one message after which the message is to blame.
    static let mostAttempts = 2

    /// Takes over the connections; what cannot go on is closed.
    func takeOver(
        _ inheritance: Inheritance,
        _ gatekeeper: Gatekeeper,
        on manager: isolated WebSocketManager
    ) -> Adoption {
        self.gatekeeper = gatekeeper
        let recovery = sockets.arena.recover(inheritance.sockets.mapValues(\.positions))
        var places: [Int: Int] = [:]
        for index in recovery.slots {
            guard let descriptor = inheritance.sockets[index]?.descriptor else { continue }
            restore(index, descriptor, manager)
            let place = Int(sockets.arena.slot(index).addressPlace)
            if place >= 0 { places[place, default: 0] += 1 }
        }
        board.restore(shard: number, connections: recovery.slots.count, places: places)
        let bindings = unsafe record.restore(now: sockets.loop.now)
        closeRefused(recovery, inheritance)
        goOn(with: recovery.slots, bindings, interrupted: recovery.interrupted, on: manager)
        var outcome = Adoption()
        outcome.kept = recovery.slots.count
        outcome.lost = recovery.refused.count { !inheritance.over.contains($0) }
        outcome.unrecorded = recovery.unrecorded
        return outcome
    }

    /// The same for connections that come from the shards of before, which were copied already.
    func takeOver(
        _ gathering: Gathering,
        _ gatekeeper: Gatekeeper,
        on manager: isolated WebSocketManager
    ) -> Adoption {
        self.gatekeeper = gatekeeper
        for (index, descriptor) in gathering.taken { restore(index, descriptor, manager) }
        for _ in 0..<gathering.over { tally.counters.closed(with: CloseLabel.abnormal) }
        for descriptor in gathering.refused {
            closeDescriptor(descriptor)
            tally.counters.closed(with: CloseReason.internalError.code)
        }
        goOn(with: gathering.taken.map(\.slot), gathering.bindings, interrupted: nil, on: manager)
        var outcome = Adoption()
        outcome.kept = gathering.taken.count
        outcome.lost = gathering.refused.count
        return outcome
    }

    /// Everybody is here: rooms are told, and what was received and not handled is handled when the turn ends.
    private func goOn(
        with slots: [Int],
        _ bindings: [(user: String, thread: String)],
        interrupted: Int?,
        on manager: isolated WebSocketManager
    ) {
        for (user, thread) in bindings { _ = manager.bind(user: user, toThread: thread) }
        announceAllRooms(on: manager)
        if let interrupted { closePoisoned(interrupted) }
        for index in slots where sockets.locals[index].descriptor >= 0 {
            if sockets.arena.slot(index).received.chunk != 0 { sockets.putOff(index) }
            settle(index, on: manager)
        }
    }

    private func restore(_ index: Int, _ descriptor: Int32, _ manager: isolated WebSocketManager) {
        guard let identity = try? sockets.arena.identity(ofSlot: index) else { return }
        let slot = sockets.arena.slot(index)
        let id = ConnectionID(identity.connection)
        sockets.restore(descriptor, slot: index, id: id)
        guard sockets.isOpen(index), !slot.flags.contains(.echo) else { return }
        manager.add(
            WebSocketConnection(
                id: id,
                user: identity.bearer.user,
                handle: index,
                connectedAt: slot.connectedAt,
                thread: identity.bearer.thread,
                metadata: identity.bearer.metadata
            )
        )
        for room in identity.rooms { _ = manager.join(room, connection: id) }
        // Times that have not been yet are nonsense, and so are ends of tokens that no token has.
        let now = unsafe sockets.loop.now
        if slot.pingSentAt > now { slot.pingSentAt = 0 }
        if slot.lastReceived > now { slot.lastReceived = now }
        slot.expiresAt = min(max(slot.expiresAt, 0), Gatekeeper.latestExpiry)
        watchHealth(of: index)
        if slot.pingSentAt != 0 { expectPong(of: index, sentAt: slot.pingSentAt) }
    }

    /// Sockets whose slots make no sense, and those of no slot, are closed; their kernel's end of file tells the peers.
    private func closeRefused(_ recovery: Arena.Recovery, _ inheritance: Inheritance) {
        for index in recovery.refused {
            if let descriptor = inheritance.sockets[index]?.descriptor { closeDescriptor(descriptor) }
            let isOver = inheritance.over.contains(index)
            tally.counters.closed(with: isOver ? CloseLabel.abnormal : CloseReason.internalError.code)
        }
        for descriptor in inheritance.strangers { closeDescriptor(descriptor) }
    }

    /// A client whose message ends its worker again and again is closed, and the message is not handled.
    private func closePoisoned(_ index: Int) {
        let slot = sockets.arena.slot(index)
        guard slot.attempts >= (contract.isUnstable ? 1 : Self.mostAttempts), slot.state != .vacant else { return }
        close(index, .internalError)
        sockets.discardReceived(index)
        tally.counters[.connectionsPoisoned] += 1
    }
}
