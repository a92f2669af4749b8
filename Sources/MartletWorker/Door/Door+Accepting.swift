// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How connections are accepted.

extension Door {
    /// How many connections one listener may accept in a turn, so that a storm does not starve connected clients.
    private static let acceptsPerTurn = 32
    private static let acceptsPerLateTurn = 4
    /// How long accepting pauses when descriptors have run out.
    private static let acceptPause: UInt64 = 100_000_000
    /// How long accepting pauses when there are as many peers as allowed.
    private static let rest: UInt64 = 20_000_000
    /// How long a new peer may take to send something before others may take its place.
    private static let newcomersPatience: UInt64 = 1_000_000_000
    /// After how many unsuccessful accepts in a row accepting pauses too.
    private static let mostVainAccepts = 1000

    /// Starts accepting on all listeners.
    func startAccepting() {
        let isFirst = !isAccepting
        isAccepting = true
        for (index, listener) in settings.listeners.enumerated() where isFirst || resting.contains(listener.kind) {
            let token = EventToken(.listener, index: index)
            do throws(SystemCallError) {
                try loop.register(listener.descriptor, token: token.rawValue, interest: [.readable, .exclusive])
            } catch {
                log.error("Cannot watch a listener", metadata: ["error": "\(error)"])
            }
        }
        resting = []
    }

    func stopAccepting() {
        guard isAccepting else { return }
        isAccepting = false
        for listener in settings.listeners where !resting.contains(listener.kind) {
            loop.deregister(listener.descriptor)
        }
        resting = []
    }

    /// Stops accepting one kind of peers because there are as many as allowed.
    ///
    /// New peers of this kind wait in the kernel's queue; other kinds are still accepted.
    private func rest(_ kind: HTTPConnection.Kind) {
        guard resting.insert(kind).inserted else { return }
        for listener in settings.listeners where listener.kind == kind { loop.deregister(listener.descriptor) }
        tally.counters[.acceptPauses] += 1
        loop.setTimer(after: Self.rest, token: EventToken.timer(.acceptAgain).rawValue)
    }

    /// Accepts the connections that wait at a listener.
    ///
    /// `isLate` means that the turn has hardly any time left.
    func accept(_ listenerIndex: Int, isLate: Bool, _ onEvent: OnEvent) {
        guard isAccepting, settings.listeners.indices.contains(listenerIndex) else { return }
        let (listener, kind) = settings.listeners[listenerIndex]
        var idle: [HTTPConnection]?
        for _ in 0..<(isLate ? Self.acceptsPerLateTurn : Self.acceptsPerTurn) {
            let isFull =
                counts[kind, default: 0] >= (kind == .metrics ? DescriptorBudget.metrics : settings.mostConnections)
            // Looking at all of them once is enough for the turn.
            if isFull, idle == nil { idle = idleConnections(kind, most: Self.acceptsPerTurn) }
            if isFull, idle?.isEmpty != false { return rest(kind) }
            do throws(SystemCallError) {
                guard let accepted = try Listener.accept(listener) else { return acceptedNobody(listenerIndex) }
                vainAccepts = 0
                // It may have connected before the listener had this option.
                if !drained.contains(listenerIndex) { StreamSocket.setUrgentInline(accepted.descriptor) }
                if isFull, let longest = idle?.popLast() {
                    tally.counters[.httpEvicted] += 1
                    close(longest)
                }
                welcome(accepted, kind, onEvent)
                // The kernel gives out the lowest free number, so a high one shows how full the table is.
                if Int(accepted.descriptor) >= settings.descriptorReserve {
                    pauseAccepting("the descriptor table is nearly full")
                    return
                }
            } catch {
                pauseAccepting("\(error)")
                return
            }
        }
    }

    /// Counts an accept that found no connection, and pauses after too many in a row.
    ///
    /// Usually another worker was faster, but a Unix socket that was shut down is reported forever.
    private func acceptedNobody(_ listenerIndex: Int) {
        drained.insert(listenerIndex)
        vainAccepts += 1
        guard vainAccepts >= Self.mostVainAccepts else { return }
        vainAccepts = 0
        pauseAccepting("the listener is reported as ready, but nobody is there")
    }

    /// Pauses accepting, instead of being woken at once for the same connection, which waits in the kernel's queue.
    private func pauseAccepting(_ why: String) {
        stopAccepting()
        tally.counters[.acceptPauses] += 1
        loop.setTimer(after: Self.acceptPause, token: EventToken.timer(.acceptAgain).rawValue)
        failures += 1
        if failures % 100 == 1 {
            log.warning("Cannot accept connections; trying again every 100 ms", metadata: ["why": "\(why)"])
        }
    }

    private func welcome(_ accepted: Listener.Accepted, _ kind: HTTPConnection.Kind, _ onEvent: OnEvent) {
        generation &+= 1
        let index = vacant.popLast() ?? connections.count
        let servesAPI = kind == .api || (kind == .client && settings.isDevelopment)
        let limits = HTTPExchange.Limits(
            bodyBytes: servesAPI ? settings.maxBodyBytes : 0,
            takesStreams: servesAPI,
            postPath: kind == .client ? settings.postPath : nil,
            postBytes: settings.postBytes
        )
        let connection = unsafe HTTPConnection(
            kind: kind,
            index: index,
            generation: generation,
            accepted: accepted,
            limits: limits,
            now: loop.now
        )
        if index == connections.count { connections.append(connection) } else { connections[index] = connection }
        counts[kind, default: 0] += 1
        // Most heads arrive with the connection: reading at once saves a turn and two calls of epoll_ctl.
        readable(connection, onEvent)
        guard connection.descriptor >= 0 else { return }
        watch(connection)
        if deadline(of: connection) != nil { setSweep() }
    }

    /// Returns at most so many idle peers that can be closed to make room for new ones; the first to go is the last.
    ///
    /// These are the peers that have been idle longest, and unknown ones before known backends. A peer that has only
    /// just come, or whose request waits in the kernel, is not among them: peers that come and ask for something are
    /// not kept out by peers that do not.
    private func idleConnections(_ kind: HTTPConnection.Kind, most: Int) -> [HTTPConnection] {
        let now = unsafe loop.now
        let idle = connections.compactMap { $0 }.filter {
            $0.kind == kind && $0.isIdle && $0.lastReceived + Self.newcomersPatience <= now
        }
        let ordered = idle.sorted {
            $0.isKnown == $1.isKnown ? $0.lastReceived < $1.lastReceived : $1.isKnown
        }
        return ordered.lazy.filter { StreamSocket.unreadBytes($0.descriptor) == 0 }.prefix(most).reversed()
    }
}
