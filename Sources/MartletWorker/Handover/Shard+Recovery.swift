// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How a shard goes on where the previous worker ended.

extension Shard {
    /// After how many crashes while one message is handled the message is to blame.
    static let mostAttempts = 2

    /// Takes over the connections, and closes those that cannot go on.
    func takeOver(
        _ inheritance: Inheritance,
        _ gatekeeper: Gatekeeper,
        on manager: isolated WebSocketManager
    ) -> Adoption {
        self.gatekeeper = gatekeeper
        let recovery = unsafe sockets.arena.recover(
            inheritance.sockets.mapValues(\.positions),
            now: sockets.loop.now
        )
        var places: [Int: Int] = [:]
        for (number, index) in recovery.slots.enumerated() {
            guard let descriptor = inheritance.sockets[index]?.descriptor else { continue }
            let place = Int(sockets.arena.slot(index).addressPlace)
            if place >= 0 { places[place, default: 0] += 1 }
            if index == recovery.superseded {
                // Its session has moved to another slot, and its client must not stay here.
                sockets.restore(descriptor, slot: index)
                close(index, .serviceRestart)
            } else {
                restore(index, descriptor, share: Self.share(number, of: recovery.slots.count), manager)
            }
        }
        restoreWaiting(recovery.waiting, manager)
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

    /// Takes over connections of the previous shards, which were already copied.
    func takeOver(
        _ gathering: Gathering,
        _ gatekeeper: Gatekeeper,
        on manager: isolated WebSocketManager
    ) -> Adoption {
        self.gatekeeper = gatekeeper
        for (number, (index, descriptor)) in gathering.taken.enumerated() {
            restore(index, descriptor, share: Self.share(number, of: gathering.taken.count), manager)
        }
        restoreWaiting(gathering.waiting, manager)
        for _ in 0..<gathering.over { tally.counters.closed(with: CloseLabel.abnormal) }
        for refused in gathering.refused {
            sendAway(refused.descriptor, isQuiet: refused.isQuiet, isStream: refused.isStream)
        }
        goOn(with: gathering.taken.map(\.slot), gathering.bindings, interrupted: nil, on: manager)
        var outcome = Adoption()
        outcome.kept = gathering.taken.count
        outcome.lost = gathering.refused.count
        return outcome
    }

    /// Goes on with the connections: announces their rooms, and lets received bytes be handled when the turn ends.
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

    /// Spreads the first pings of connections that were taken over, so that they are not all sent at once.
    private static func share(_ number: Int, of count: Int) -> Double { Double(number + 1) / Double(count) }

    private func restore(
        _ index: Int,
        _ descriptor: Int32,
        share: Double,
        _ manager: isolated WebSocketManager
    ) {
        guard let identity = try? sockets.arena.identity(ofSlot: index) else { return }
        let slot = sockets.arena.slot(index)
        sockets.restore(descriptor, slot: index)
        guard sockets.isOpen(index) || sockets.isSession(index), !slot.flags.contains(.echo) else { return }
        add(identity, index, manager)
        // Times in the future are not valid, and neither are expiry times that no token can have.
        let now = unsafe sockets.loop.now
        if slot.pingSentAt > now { slot.pingSentAt = 0 }
        if slot.lastReceived > now { slot.lastReceived = now }
        slot.expiresAt = min(max(slot.expiresAt, 0), Gatekeeper.latestExpiry)
        watchHealth(of: index, share: share)
        if slot.pingSentAt != 0 { expectPong(of: index, sentAt: slot.pingSentAt) }
    }

    /// Goes on with the sessions that wait for their clients.
    private func restoreWaiting(_ slots: [Int], _ manager: isolated WebSocketManager) {
        // Those that have waited longest end first.
        let oldestFirst = slots.sorted { sockets.arena.slot($0).waitingSince < sockets.arena.slot($1).waitingSince }
        for index in oldestFirst {
            guard let identity = try? sockets.arena.identity(ofSlot: index) else { continue }
            sockets.restoreWaiting(index)
            add(identity, index, manager)
        }
    }

    private func add(_ identity: ArenaIdentity, _ index: Int, _ manager: isolated WebSocketManager) {
        let id = ConnectionID(identity.connection)
        manager.add(
            WebSocketConnection(
                id: id,
                user: identity.bearer.user,
                handle: index,
                connectedAt: sockets.arena.slot(index).connectedAt,
                thread: identity.bearer.thread,
                metadata: identity.bearer.metadata
            )
        )
        for room in identity.rooms { _ = manager.join(room, connection: id) }
    }

    /// Closes sockets whose slots are inconsistent, and those without a slot.
    private func closeRefused(_ recovery: Arena.Recovery, _ inheritance: Inheritance) {
        for index in recovery.refused {
            let descriptor = inheritance.sockets[index]?.descriptor
            if inheritance.over.contains(index) {
                descriptor.map(closeDescriptor)
                tally.counters.closed(with: CloseLabel.abnormal)
            } else if let descriptor {
                sendAway(
                    descriptor,
                    isQuiet: inheritance.quiet.contains(index),
                    isStream: sockets.isStreaming(index)
                )
            } else {
                tally.counters.closed(with: CloseLabel.abnormal)
            }
        }
        for descriptor in inheritance.strangers { closeDescriptor(descriptor) }
        for descriptor in inheritance.broken {
            closeDescriptor(descriptor)
            tally.counters.closed(with: CloseLabel.abnormal)
        }
    }

    /// Closes a connection that could not be kept.
    ///
    /// `isQuiet` means that no frame was partly sent, so that the client can be told to reconnect; `isStream` that it reads
    /// server-sent events.
    private func sendAway(_ descriptor: Int32, isQuiet: Bool, isStream: Bool) {
        let reason = CloseReason.serviceRestart
        if isQuiet {
            let payload = FrameEncoder.closePayload(code: reason.code, reason: reason.advice)
            let frame = isStream ? EventStream.close(payload) : FrameEncoder.closeFrame(reason)
            _ = StreamSocket.send(descriptor, frame.span)
            StreamSocket.shutdownWriting(descriptor)
            // If bytes were left unread, the kernel would reset the connection before the client has read this.
            var unread: [UInt8] = []
            _ = StreamSocket.receive(descriptor, appendingTo: &unread, room: 65536)
        }
        closeDescriptor(descriptor)
        tally.counters.closed(with: isQuiet ? reason.code : CloseLabel.abnormal)
    }

    /// Closes a client whose message ends its worker again and again, without handling the message.
    private func closePoisoned(_ index: Int) {
        let slot = sockets.arena.slot(index)
        guard slot.attempts >= (contract.isUnstable ? 1 : Self.mostAttempts), slot.state != .vacant else { return }
        // Its session ends with it: a client that comes back would send the message again.
        let reason = CloseReason.internalError
        sockets.close(index, code: reason.code, reason: reason.advice)
        sockets.discardReceived(index)
        tally.counters[.connectionsPoisoned] += 1
    }
}
