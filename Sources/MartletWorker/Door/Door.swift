internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// Where strangers come in: it accepts, reads HTTP, and says what each request wants.
///
/// Everything hostile is parsed here, under bounds, and every state before the upgrade has a deadline. What a request
/// means is for its owner (``Worker``), which gets it by ``requests`` and answers by ``respond(_:number:_:)``.
final class Door {
    struct Settings {
        /// Their descriptors, and who comes there.
        var listeners: [(descriptor: Int32, kind: HTTPPeer.Kind)]
        var maxBodyBytes: Int
        /// Bytes of bodies that all peers together may send at a time.
        var bodyBytes: Int
        var isDevelopment: Bool
        /// How long a stranger may take with a request, and between two.
        var handshakeTimeout: UInt64
        /// How long a peer may take to go on with a body, or with reading its answers.
        var timeout: UInt64
        /// Connections on each kind of listener.
        var mostPeers: Int
        /// Descriptor numbers from here on are left to clients that other workers pass on.
        var descriptorReserve: Int
    }

    /// Something that a peer asked for, or a line of what it sends; `.needsMore` says that no more came for now.
    typealias OnEvent = (HTTPPeer, HTTPExchange.Event) -> Void

    private static let receiveSize = 16384
    private static let streamReceiveSize = 65536
    /// With so many bytes of answers unread, a peer is not asked for more.
    private static let mostUnsent = 262_144
    /// How long a peer that was answered for the last time gets to read that and leave.
    private static let lingering: UInt64 = 2_000_000_000

    let loop: EventLoop
    let settings: Settings
    let log: Logger
    var peers: [HTTPPeer?] = []
    var vacant: [Int] = []
    var generation: UInt32 = 0
    var dirty: [HTTPPeer] = []
    var isAccepting = false
    /// Kinds of listeners that are not watched for now, as there is no room for more of their peers.
    var resting: Set<HTTPPeer.Kind> = []
    /// How often accepting has failed.
    var failures = 0
    /// How often in a row nobody was there to be accepted.
    var vainAccepts = 0
    /// Nothing is read; what is owed is still answered.
    var isPaused = false
    /// Counts the turns of the loop.
    var turn: UInt64 = 0
    /// Who had their share of a turn, and whose turn comes later.
    var later: [HTTPPeer] = []
    private var isSweepSet = false

    /// Peers that are connected now, by kind.
    var counts: [HTTPPeer.Kind: Int] = [:]
    var count: Int { counts.values.reduce(0, +) }
    /// Bytes of bodies that are under way.
    var bodyBytes = 0
    private var date = HTTPDate(unixSeconds: 0)
    let tally: Tally

    init(loop: EventLoop, settings: Settings, tally: Tally, log: Logger) {
        self.loop = loop
        self.settings = settings
        self.tally = tally
        self.log = log
    }

    // MARK: Deadlines

    /// When a peer's patience with us, or ours with it, is over; nil while it owes us nothing.
    func deadline(of peer: HTTPPeer) -> UInt64? {
        if peer.unsentCount > 0 { return peer.lastTaken + settings.timeout }
        if peer.exchange.isWaiting { return nil }  // we owe it an answer, which has a deadline of its own
        if peer.isLingering { return peer.lastReceived + Self.lingering }
        if peer.exchange.isReceivingBody { return peer.lastReceived + settings.timeout }
        let isWithinHead = peer.exchange.isMidRequest || !peer.hasAsked
        switch peer.kind {
        case .client: return (isWithinHead ? peer.since : peer.lastReceived) + settings.handshakeTimeout
        // Backends keep their connections; the kernel finds those that have vanished.
        case .api where peer.isKnown: return isWithinHead ? peer.lastReceived + settings.timeout : nil
        case .api, .metrics:
            return isWithinHead ? peer.since + settings.handshakeTimeout : peer.lastReceived + settings.timeout
        }
    }

    /// Looks again soon, for as long as somebody has a deadline.
    func setSweep() {
        guard !isSweepSet else { return }
        isSweepSet = true
        loop.setTimer(
            after: min(500_000_000, settings.handshakeTimeout / 2),
            token: Token.timer(.doorSweep).rawValue
        )
    }

    /// Answers 408 to those whose request did not come in time, and closes those who only stay.
    func sweep() {
        isSweepSet = false
        var isNeeded = false
        for peer in peers {
            guard let peer, let deadline = deadline(of: peer) else { continue }
            // Whoever was put off waits for us.
            if unsafe deadline > loop.now || peer.isPutOff {
                isNeeded = true
            } else if peer.unsentCount > 0, hasTakenMore(peer) {
                isNeeded = true
            } else if peer.unsentCount > 0 {
                // Where something lies unread on our side, too, the kernel resets the connection.
                tally.counters[.httpUnread] += 1
                close(peer)
            } else if peer.exchange.isMidRequest, !peer.isLingering, !peer.exchange.isOver {
                tally.counters[.handshakeTimeouts] += 1
                peer.batch = nil
                setDate(peer)
                peer.exchange.fail(HTTPProblem(408, "request_timeout", "the request took too long to arrive"))
                markDirty(peer)
            } else {
                close(peer)
            }
        }
        if isNeeded { setSweep() }
    }

    /// True where a peer reads, though too little for our next write.
    private func hasTakenMore(_ peer: HTTPPeer) -> Bool {
        let untaken = StreamSocket.unsentBytes(peer.descriptor)
        defer { peer.untaken = untaken }
        guard untaken < peer.untaken else { return false }
        peer.lastTaken = unsafe loop.now
        return true
    }

    // MARK: Reading and writing

    func peer(_ index: Int, generation: UInt32) -> HTTPPeer? {
        guard peers.indices.contains(index), let peer = peers[index], peer.generation & 0xFF_FFFF == generation else {
            return nil
        }
        return peer
    }

    /// Epoll has something for a peer.
    ///
    /// `isLate`: the turn has no time for it any more.
    func ready(_ peer: HTTPPeer, _ event: EventLoop.Event, isLate: Bool, _ onEvent: OnEvent) {
        if event.isWritable {
            flush(peer)
            readOn(peer, isLate: isLate, onEvent)
        }
        guard event.isReadable, peer.descriptor >= 0 else { return }
        if isLate, !peer.isLingering { putOff(peer) } else { readable(peer, onEvent) }
    }

    func readable(_ peer: HTTPPeer, _ onEvent: OnEvent) {
        if peer.isLingering {
            drain(peer)
            return
        }
        if peer.isPutOff { return }
        guard wantsToRead(peer) else {
            watch(peer)
            return
        }
        let wasMidRequest = peer.exchange.isMidRequest
        let room = peer.exchange.isStreaming ? Self.streamReceiveSize : Self.receiveSize
        switch StreamSocket.receive(peer.descriptor, appendingTo: &peer.exchange.input, room: room) {
        case .wouldBlock: return
        case .failed(let error): broke(peer, error)
        case .ended:
            peer.hasEnded = true
            peer.exchange.stopReading()
            settle(peer)
        case .moved(let count):
            peer.bytesRead += UInt64(count)
            if !wasMidRequest { peer.since = unsafe loop.now }
            peer.lastReceived = unsafe loop.now
            read(peer, onEvent)
            if peer.bodyBytes > 0, peer.descriptor >= 0, !growBody(peer) { return }
            if peer.exchange.isMidRequest { setSweep() }
        }
    }

    /// Reads requests that came together with those just answered, and waited in the buffer for room.
    ///
    /// `isLate`: the turn has no time for it any more.
    func readOn(_ peer: HTTPPeer, isLate: Bool, _ onEvent: OnEvent) {
        guard !isPaused, !peer.isPutOff, peer.descriptor >= 0, peer.exchange.isMidRequest,
            peer.unsentCount < Self.mostUnsent
        else {
            return
        }
        if isLate { return putOff(peer) }
        // What came already is handled even where no more may be received, or the peer has ended its side.
        read(peer, onEvent)
    }

    private func read(_ peer: HTTPPeer, _ onEvent: OnEvent) {
        setDate(peer)
        while peer.descriptor >= 0 {
            // Who does not read its answers gets no further ones, whatever it has sent already.
            if peer.unsentCount + peer.exchange.outputCount > 2 * Self.mostUnsent { return markDirty(peer) }
            if peer.exchange.isMidRequest, isSpent(peer) {
                putOff(peer)
                break
            }
            let event = peer.exchange.next()
            if event != .needsMore {
                peer.hasAsked = true
                if beginBody(peer, event) { onEvent(peer, event) }
                if peer.bodyBytes > 0, !peer.exchange.isReceivingBody { endBody(peer) }
                continue
            }
            break
        }
        if peer.batch != nil { onEvent(peer, .needsMore) }
        if peer.descriptor >= 0, peer.exchange.hasOutput { markDirty(peer) }
    }

    /// A peer that was answered for the last time is closed when it has read that; until then its bytes are dropped.
    private func drain(_ peer: HTTPPeer) {
        var dropped: [UInt8] = []
        switch StreamSocket.receive(peer.descriptor, appendingTo: &dropped, room: Self.receiveSize) {
        case .moved, .wouldBlock: return
        case .ended, .failed: close(peer)
        }
    }

    /// Answers a request, whenever the answer is known; a peer that is gone by then gets none.
    func respond(_ peer: HTTPPeer, number: Int, _ response: HTTPResponse) {
        guard peer.descriptor >= 0 else { return }
        setDate(peer)
        peer.exchange.respond(to: number, response)
        markDirty(peer)
    }

    /// The peer has something to be written, or room for something to be read.
    func markDirty(_ peer: HTTPPeer) {
        if peer.isDirty { return }
        peer.isDirty = true
        dirty.append(peer)
    }

    /// Writes this turn's answers, and reads on where answers made room.
    func flushDirty(_ onEvent: OnEvent) {
        // The clock is read only where somebody goes on.
        var end: UInt64?
        while !dirty.isEmpty {
            let batch = dirty
            dirty = []
            for peer in batch {
                peer.isDirty = false
                guard peer.descriptor >= 0 else { continue }
                flush(peer)
                guard peer.exchange.isMidRequest else { continue }
                let now = Clock.monotonicNanoseconds()
                if end == nil { end = now + LaterQueue.share }
                readOn(peer, isLate: now >= end ?? .max, onEvent)
            }
        }
    }

    private func flush(_ peer: HTTPPeer) {
        if peer.unsentCount == 0 { peer.lastTaken = unsafe loop.now }
        peer.unsent += peer.exchange.takeOutput()
        peer.exchange.takeAnswered { tally.counters[.answers(of: $0)] += 1 }
        while peer.unsentStart < peer.unsent.count {
            switch StreamSocket.send(peer.descriptor, peer.unsent.span.extracting(peer.unsentStart...)) {
            case .moved(let count):
                peer.unsentStart += count
                peer.lastTaken = unsafe loop.now
                peer.untaken = .max
            case .wouldBlock, .ended:
                if peer.unsentStart > 1 << 20 {
                    peer.unsent.removeFirst(peer.unsentStart)
                    peer.unsentStart = 0
                }
                watch(peer)
                setSweep()
                return
            case .failed(let error): return broke(peer, error)
            }
        }
        peer.unsent.removeAll(keepingCapacity: peer.unsent.capacity <= 65536)
        peer.unsentStart = 0
        settle(peer)
    }

    /// The connection broke; where the kernel has given it up, nothing was read of what it sent.
    private func broke(_ peer: HTTPPeer, _ error: SystemCallError) {
        if error.isGivenUp, peer.unsentCount > 0 { tally.counters[.httpUnread] += 1 }
        close(peer)
    }

    /// Has the peer's answers say what time it is.
    private func setDate(_ peer: HTTPPeer) { peer.exchange.date = dateNow() }

    func dateNow() -> HTTPDate {
        date = date.at(unixSeconds: Clock.unixMilliseconds() / 1000)
        return date
    }

    // MARK: Handing over

    /// Accepts and reads nothing until ``resume()``.
    func pause() {
        stopAccepting()
        isPaused = true
        for peer in peers { if let peer { watch(peer) } }
    }

    func resume() {
        readAgain()
        startAccepting()
    }

    /// Goes on with those who are here, for one more answer each; who is new is another worker's.
    func retire() {
        for peer in peers { peer?.exchange.endsAfterNext = true }
        readAgain()
    }

    private func readAgain() {
        isPaused = false
        for peer in peers {
            guard let peer else { continue }
            watch(peer)
            // What came before the pause is read on.
            markDirty(peer)
        }
    }

    // MARK: Ending

    /// Ends a conversation in which everything is said, or goes on with it.
    private func settle(_ peer: HTTPPeer) {
        let isOver = peer.exchange.isOver || (peer.hasEnded && !peer.exchange.isWaiting)
        if peer.exchange.hasOutput { markDirty(peer) }
        if deadline(of: peer) != nil { setSweep() }
        guard isOver, !peer.owesBytes, !peer.isLingering else {
            watch(peer)
            return
        }
        if peer.hasEnded {
            close(peer)
            return
        }
        // Our end of file goes first, so that the answer is read before the connection breaks.
        StreamSocket.shutdownWriting(peer.descriptor)
        peer.isLingering = true
        peer.lastReceived = unsafe loop.now
        watch(peer)
        setSweep()
    }

    /// A peer that does not read its answers is not asked for more.
    private func wantsToRead(_ peer: HTTPPeer) -> Bool {
        !isPaused && !peer.hasEnded && peer.exchange.wantsInput && peer.unsentCount < Self.mostUnsent
    }

    /// Has epoll watch for exactly what can happen next.
    func watch(_ peer: HTTPPeer) {
        guard peer.descriptor >= 0 else { return }
        var interest: EventLoop.Interest = []
        if peer.isLingering || wantsToRead(peer) { interest.insert(.readable) }
        if peer.unsentCount > 0 { interest.insert(.writable) }
        guard interest != peer.interest else { return }
        do throws(SystemCallError) {
            if interest.isEmpty {
                loop.deregister(peer.descriptor)
            } else if peer.interest.isEmpty {
                try loop.register(peer.descriptor, token: peer.token, interest: interest)
            } else {
                try loop.modify(peer.descriptor, token: peer.token, interest: interest)
            }
            peer.interest = interest
        } catch {
            close(peer)
        }
    }
}
