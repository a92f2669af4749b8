// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// Heartbeats, and the expiry of tokens.

extension Shard {
    /// How long before a token expires the client is told about it, in milliseconds.
    private static let expiryWarning: Int64 = 30000

    /// Pings a connection from now on, and closes it when its token expires.
    ///
    /// `share` is the part of the interval, from 0 to 1, after which it is first pinged; it must not decrease from call
    /// to call in a turn.
    func watchHealth(of index: Int, share: Double = 1) {
        let generation = sockets.locals[index].generation
        let wait = UInt64(Double(contract.timing.heartbeatInterval) * share)
        pings.append(index, generation, deadline: unsafe sockets.loop.now + wait)
        setHealthTimer()
        watchExpiry(of: index)
    }

    /// Notes that the client must still answer a ping that the previous worker sent.
    ///
    /// Where no pong can come, what was queued until now must be acknowledged.
    func expectPong(of index: Int, sentAt: UInt64) {
        if sockets.isStreaming(index) { heartbeats[index] = sockets.queuedPosition(index) }
        pongs.append(
            index,
            sockets.locals[index].generation,
            deadline: unsafe max(sentAt, sockets.loop.now) + contract.timing.heartbeatTimeout
        )
        setHealthTimer()
    }

    /// Notes when the connection's token expires, if that is soon.
    ///
    /// This is called at every ping, so that only connections whose token expires soon take memory for it.
    func watchExpiry(of index: Int) {
        let expiresAt = sockets.arena.slot(index).expiresAt
        guard expiresAt > 0 else { return }
        let due = max(0, expiresAt - Self.expiryWarning)
        let horizon = Int64(contract.timing.heartbeatInterval / 1_000_000) + 2000
        guard due <= Clock.unixMilliseconds() + horizon else { return }
        // There is one entry for each connection, unless the new expiry is earlier; one that is too early looks again.
        if sockets.locals[index].expiryEntry <= UInt64(due) { return }
        sockets.locals[index].expiryEntry = UInt64(due)
        insertExpiry(index, at: UInt64(due))
        setHealthTimer()
    }

    private func insertExpiry(_ index: Int, at due: UInt64) {
        let generation = UInt64(sockets.locals[index].generation & 0xFF_FFFF)
        expiries.insert(deadline: due, token: generation << 32 | UInt64(UInt32(index)))
    }

    /// Handles everything that is due, and sets the timer for the next time.
    func checkHealth(on manager: isolated WebSocketManager) {
        let now = unsafe sockets.loop.now
        // This may be a timer that was set before an earlier one.
        guard let due = healthTimer, now >= due else { return }
        healthTimer = nil
        closeSilent(now, isHalted: now < patientUntil || now - due > contract.timing.heartbeatTimeout / 4, manager)
        pingDue(now)
        checkExpiries(manager)
        setHealthTimer()
    }

    /// Sets the timer again after a halt.
    func resumeHealth(on manager: isolated WebSocketManager) {
        healthTimer = nil
        setHealthTimer()
    }

    private func setHealthTimer() {
        let now = unsafe sockets.loop.now
        // Deadlines that are close together are handled together: a fiftieth of the interval is soon enough.
        let grain = min(max(contract.timing.heartbeatInterval / 50, 10_000_000), 500_000_000)
        var earliest = [pings.earliest, pongs.earliest].compactMap { $0 }.min()
        if let expiry = expiries.earliest {
            // The real-time clock may be changed: look again now and then.
            let wait = min(max(0, Int64(clamping: expiry) - Clock.unixMilliseconds()), 60000)
            earliest = min(earliest ?? .max, now + UInt64(wait) * 1_000_000)
        }
        guard let earliest else { return }
        let due = max(earliest, now + grain)
        if let healthTimer, healthTimer <= due { return }
        healthTimer = due
        sockets.loop.setTimer(deadline: due, token: EventToken.timer(.health).rawValue)
    }

    /// Sends a ping to all connections for which it is due; they share its bytes.
    private func pingDue(_ now: UInt64) {
        guard let first = pings.earliest, first <= now else { return }
        let stamp = (0..<8).map { UInt8(truncatingIfNeeded: now >> (8 * UInt64($0))) }
        guard let frame = try? sockets.prepare(.ping, stamp.span) else { return }
        defer { sockets.release(frame) }
        while let (index, generation) = pings.popDue(now: now) {
            guard sockets.isCurrent(index, generation: generation & 0xFF_FFFF), sockets.isOpen(index) else { continue }
            pings.append(index, generation, deadline: now + contract.timing.heartbeatInterval)
            watchExpiry(of: index)
            let slot = sockets.arena.slot(index)
            // A stream gets each of them, because it has no other sign of life.
            let isStream = slot.flags.contains(.events)
            if isStream, let position = heartbeats[index], sockets.isAcknowledged(index, upTo: position) {
                slot.pingSentAt = 0
            }
            // A ping that was not answered yet has its own deadline.
            guard isStream || slot.pingSentAt == 0, sockets.send(frame, to: index) == .queued else { continue }
            tally.counters[.pingsSent] += 1
            guard slot.pingSentAt == 0 else { continue }
            slot.pingSentAt = now
            if isStream { heartbeats[index] = sockets.queuedPosition(index) }
            pongs.append(index, generation, deadline: now + contract.timing.heartbeatTimeout)
        }
        Fault.at(.pinged)
        pingedAt = now
    }

    /// Notes that the pings of this turn were sent.
    ///
    /// If that took long, because this process was halted in the meantime, the time to answer begins now.
    func pingsLeft() {
        guard let pinged = pingedAt else { return }
        pingedAt = nil
        let now = Clock.monotonicNanoseconds()
        if now - pinged > contract.timing.heartbeatTimeout / 8 { patientUntil = now + contract.timing.heartbeatTimeout }
    }

    /// Closes the connections of clients that have sent nothing at all since they were pinged.
    ///
    /// `isHalted` means that this process was halted when it should have looked. Its pings may have been sent only now,
    /// so all clients get their time once more.
    private func closeSilent(_ now: UInt64, isHalted: Bool, _ manager: isolated WebSocketManager) {
        while let (index, generation) = pongs.popDue(now: now) {
            guard sockets.isCurrent(index, generation: generation & 0xFF_FFFF), sockets.isOpen(index) else { continue }
            let slot = sockets.arena.slot(index)
            guard slot.pingSentAt != 0, slot.pingSentAt + contract.timing.heartbeatTimeout <= now else { continue }
            if isHalted || sockets.hasUnread(index) {
                // A client with bytes in the kernel is not silent; they will be read soon.
                pongs.append(index, generation, deadline: now + contract.timing.heartbeatTimeout)
                continue
            }
            if slot.flags.contains(.events) {
                judgeStream(index, now, manager)
            } else if slot.lastReceived < slot.pingSentAt {
                close(index, .heartbeatTimeout)
                settle(index, on: manager)
            } else {
                slot.pingSentAt = 0
            }
        }
    }

    /// Closes a stream of events whose other end has not even acknowledged the last heartbeat.
    private func judgeStream(_ index: Int, _ now: UInt64, _ manager: isolated WebSocketManager) {
        let position = heartbeats.removeValue(forKey: index) ?? 0
        if sockets.isAcknowledged(index, upTo: position) {
            let slot = sockets.arena.slot(index)
            slot.pingSentAt = 0
            slot.lastReceived = now
        } else {
            close(index, .heartbeatTimeout)
            settle(index, on: manager)
        }
    }

    // MARK: Tokens

    private func checkExpiries(_ manager: isolated WebSocketManager) {
        let now = Clock.unixMilliseconds()
        let leeway = Int64(contract.auth.leewayMilliseconds)
        while let token = expiries.popDue(now: UInt64(now)) {
            let index = Int(token & 0xFFFF_FFFF)
            guard sockets.isCurrent(index, generation: UInt32(token >> 32)), sockets.isOpen(index) else { continue }
            let slot = sockets.arena.slot(index)
            sockets.locals[index].expiryEntry = .max
            let (warning, end) = (slot.expiresAt - Self.expiryWarning, slot.expiresAt + leeway)
            if now >= end {
                close(index, .tokenExpired)
                settle(index, on: manager)
                continue
            }
            if now >= warning, !slot.flags.contains(.expiryAnnounced) {
                slot.flags.insert(.expiryAnnounced)
                say(ServerMessage.tokenExpiring(at: slot.expiresAt), to: index)
            }
            let due = UInt64(max(0, now >= warning ? end : warning))
            sockets.locals[index].expiryEntry = due
            insertExpiry(index, at: due)
        }
    }
}
