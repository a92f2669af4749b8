internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How a shard goes on where the worker before this one ended.

extension Shard {
    /// Crashes in the handling of one message after which the message is to blame.
    private static let mostAttempts = 2

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
        for (user, thread) in record.restore() { _ = manager.bind(user: user, toThread: thread) }
        announceAllRooms(on: manager)
        closeRefused(recovery, inheritance)
        if let index = recovery.interrupted { closePoisoned(index) }
        for index in recovery.slots where sockets.isOpen(index) || sockets.arena.slot(index).state == .closing {
            sockets.readReceived(index) { self.received($0, $1, from: index, on: manager) }
            settle(index, on: manager)
        }
        var outcome = Adoption()
        outcome.kept = recovery.slots.count
        outcome.lost = recovery.refused.count
        outcome.unrecorded = recovery.unrecorded
        return outcome
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
        watchHealth(of: index)
        if slot.pingSentAt != 0 { expectPong(of: index, sentAt: slot.pingSentAt) }
    }

    /// Sockets whose slots make no sense, and those of no slot, are closed; their kernel's end of file tells the peers.
    private func closeRefused(_ recovery: Arena.Recovery, _ inheritance: Inheritance) {
        for index in recovery.refused {
            if let descriptor = inheritance.sockets[index]?.descriptor { closeDescriptor(descriptor) }
            tally.counters.closed(with: CloseReason.internalError.code)
        }
        for descriptor in inheritance.strangers { closeDescriptor(descriptor) }
    }

    /// A client whose message ends its worker again and again is closed, and the message is not handled.
    private func closePoisoned(_ index: Int) {
        let slot = sockets.arena.slot(index)
        guard slot.attempts >= Self.mostAttempts, slot.state != .vacant else { return }
        close(index, .internalError)
        sockets.discardReceived(index)
    }
}
