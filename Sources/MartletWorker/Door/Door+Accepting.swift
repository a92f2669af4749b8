internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How strangers come in.

extension Door {
    /// Connections accepted from one listener in one turn, so that no storm starves those who are connected.
    private static let acceptsPerTurn = 32
    private static let acceptsPerLateTurn = 4
    /// How long acceptance rests when descriptors have run out.
    private static let acceptPause: UInt64 = 100_000_000
    /// Vain accepts in a row after which it rests, too.
    private static let mostVainAccepts = 1000

    private var listeners: [Int32] { settings.clientListeners + settings.apiListeners }

    /// Opens the door.
    func startAccepting() {
        guard !isAccepting else { return }
        isAccepting = true
        for (index, listener) in listeners.enumerated() {
            let token = Token(.listener, index: index)
            do throws(SystemCallError) {
                try loop.register(listener, token: token.rawValue, interest: [.readable, .exclusive])
            } catch {
                log.error("Cannot watch a listener", metadata: ["error": "\(error)"])
            }
        }
    }

    func stopAccepting() {
        guard isAccepting else { return }
        isAccepting = false
        for listener in listeners { loop.deregister(listener) }
    }

    /// Accepts what waits at a listener.
    ///
    /// `isLate`: the turn has hardly any time for it.
    func accept(_ listenerIndex: Int, isLate: Bool, _ onEvent: OnEvent) {
        let isClient = listenerIndex < settings.clientListeners.count
        guard isAccepting, listeners.indices.contains(listenerIndex) else { return }
        for _ in 0..<(isLate ? Self.acceptsPerLateTurn : Self.acceptsPerTurn) {
            do throws(SystemCallError) {
                guard let descriptor = try Listener.accept(listeners[listenerIndex]) else { return acceptedNobody() }
                vainAccepts = 0
                welcome(descriptor, isClient ? .client : .api, onEvent)
                // The kernel gives out the lowest free number, so a high one says how full the table is.
                if Int(descriptor) >= settings.descriptorReserve {
                    pauseAccepting("the descriptor table is nearly full")
                    return
                }
            } catch {
                pauseAccepting("\(error)")
                return
            }
        }
    }

    /// Another worker was faster, most of the time; a Unix socket that was shut down is reported for ever.
    private func acceptedNobody() {
        vainAccepts += 1
        guard vainAccepts >= Self.mostVainAccepts else { return }
        vainAccepts = 0
        pauseAccepting("nobody is there, though the listener is reported")
    }

    /// Rests, instead of being woken at once for the same connection; who waits, waits in the kernel's queue.
    private func pauseAccepting(_ why: String) {
        stopAccepting()
        tally.counters[.acceptPauses] += 1
        loop.setTimer(after: Self.acceptPause, token: Token.timer(.acceptAgain).rawValue)
        if tally.counters[.acceptPauses] % 100 == 1 {
            log.warning("Cannot accept; trying again every 100 ms", metadata: ["why": "\(why)"])
        }
    }

    private func welcome(_ descriptor: Int32, _ kind: HTTPPeer.Kind, _ onEvent: OnEvent) {
        guard makeRoom(kind) else { return refuse(descriptor, Self.full) }
        generation &+= 1
        let index = vacant.popLast() ?? peers.count
        let servesAPI = kind == .api || settings.isDevelopment
        let limits = HTTPExchange.Limits(
            bodyBytes: servesAPI ? settings.maxBodyBytes : 0,
            takesStreams: servesAPI
        )
        let peer = unsafe HTTPPeer(
            kind: kind,
            index: index,
            generation: generation,
            descriptor: descriptor,
            limits: limits,
            now: loop.now
        )
        if index == peers.count { peers.append(peer) } else { peers[index] = peer }
        counts[kind, default: 0] += 1
        // Most heads arrive with the connection: reading at once saves a turn, and two calls of epoll_ctl.
        readable(peer, onEvent)
        guard peer.descriptor >= 0 else { return }
        watch(peer)
        if deadline(of: peer) != nil { setSweep() }
    }

    private static let full = HTTPProblem(503, "full", "the server has as many connections of HTTP as it may")
        .with("Retry-After", "1")

    /// Makes room for one more of a kind; false where everybody is busy.
    ///
    /// Whoever has waited longest without anything under way goes; whoever comes with a whole request is not kept out by
    /// those who send none.
    private func makeRoom(_ kind: HTTPPeer.Kind) -> Bool {
        if counts[kind, default: 0] < settings.mostPeers { return true }
        var longest: HTTPPeer?
        for case let peer? in peers where peer.kind == kind && peer.isIdle {
            if peer.lastReceived < longest?.lastReceived ?? .max { longest = peer }
        }
        tally.counters[.httpEvicted] += 1
        guard let longest else { return false }
        close(longest)
        return true
    }
}
