// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The worker's HTTP server: it accepts connections, reads HTTP, and reports what each request asks for.
///
/// Everything that may be hostile is parsed here, within limits, and every state before the upgrade has a deadline.
/// What a request means is decided by the owner (``Worker``), which gets each ``OnEvent`` and answers with
/// ``respond(_:number:_:)``.
final class Door {
    struct Settings {
        /// The descriptors of listeners, and the kind of peers that come there.
        var listeners: [(descriptor: Int32, kind: HTTPConnection.Kind)]
        var maxBodyBytes: Int
        /// Where clients post that read server-sent events, and how many bytes at a time.
        var postPath: String
        var postBytes: Int
        /// How many bytes of bodies all peers together may send at a time.
        var bodyBytes: Int
        var isDevelopment: Bool
        /// How long an unknown peer may take for a request, and between two requests.
        var handshakeTimeout: UInt64
        /// How long a peer may pause while it sends a body or reads its answers.
        var timeout: UInt64
        /// The most connections on each kind of listener.
        var mostConnections: Int
        /// The first of the descriptor numbers that are reserved for clients that other workers pass on.
        var descriptorReserve: Int
    }

    /// Called with a request of a peer, or a line of its body; `.needsMore` means that nothing more has come for now.
    typealias OnEvent = (HTTPConnection, HTTPExchange.Event) -> Void

    private static let receiveSize = 16384
    private static let streamReceiveSize = 65536
    /// If a peer leaves this many bytes of answers unread, we stop reading its requests.
    private static let mostUnsent = 262_144
    /// How long a client may take for a byte that it posts: 16 KiB a second.
    private static let longestPerByte: UInt64 = 1_000_000_000 / 16384
    /// How long a peer may take to read its last answer and leave.
    private static let lingering: UInt64 = 2_000_000_000

    let loop: EventLoop
    let settings: Settings
    let log: Logger
    var connections: [HTTPConnection?] = []
    var vacant: [Int] = []
    var generation: UInt32 = 0
    var dirty: [HTTPConnection] = []
    /// The list that is being flushed, whose memory is used again.
    private var flushing: [HTTPConnection] = []
    private let receiving = ReceiveBuffer(capacity: streamReceiveSize)
    var isAccepting = false
    /// The kinds of listeners that are not watched for now, because there is no room for more of their peers.
    var resting: Set<HTTPConnection.Kind> = []
    /// How often accepting has failed.
    var failures = 0
    /// How often in a row there was no connection to accept.
    var vainAccepts = 0
    /// The listeners at which nobody waited once: whoever is accepted there now has all options of the listener.
    var drained: Set<Int> = []
    /// Whether nothing is read; outstanding answers are still sent.
    var isPaused = false
    /// The number of the loop's current turn.
    var turn: UInt64 = 0
    /// Peers that have had their share of a turn, and will be served later.
    var later: [HTTPConnection] = []
    private var isSweepSet = false

    /// How many peers of each kind are connected now.
    var counts: [HTTPConnection.Kind: Int] = [:]
    var count: Int { counts.values.reduce(0, +) }
    /// How many bytes of bodies are under way, for each kind of peer.
    var bodyBytes: [HTTPConnection.Kind: Int] = [:]
    private var date = HTTPDate(unixSeconds: 0)
    let tally: Tally

    init(loop: EventLoop, settings: Settings, tally: Tally, log: Logger) {
        self.loop = loop
        self.settings = settings
        self.tally = tally
        self.log = log
    }

    // MARK: Deadlines

    /// Returns when we give up waiting for a peer; nil while we do not wait for it.
    func deadline(of connection: HTTPConnection) -> UInt64? {
        if connection.isBlocked { return connection.lastTaken + settings.timeout }
        if connection.exchange.isWaiting { return nil }  // it waits for an answer, which has its own deadline
        if connection.isLingering { return connection.lastReceived + Self.lingering }
        if connection.exchange.isReceivingBody {
            if connection.kind != .client || settings.isDevelopment {
                return connection.lastReceived + settings.timeout
            }
            // A client's messages are small: however slowly they come, they must be here after a while.
            let received = UInt64(connection.exchange.unhandledCount)
            return connection.since + settings.handshakeTimeout + received * Self.longestPerByte
        }
        let isWithinHead = connection.exchange.isMidRequest || !connection.hasAsked
        switch connection.kind {
        case .client: return (isWithinHead ? connection.since : connection.lastReceived) + settings.handshakeTimeout
        // Backends keep their connections; the kernel detects those that have vanished.
        case .api where connection.isKnown: return isWithinHead ? connection.lastReceived + settings.timeout : nil
        case .api, .metrics:
            return isWithinHead
                ? connection.since + settings.handshakeTimeout : connection.lastReceived + settings.timeout
        }
    }

    /// Sets the timer for the next ``sweep()``.
    func setSweep() {
        guard !isSweepSet else { return }
        isSweepSet = true
        loop.setTimer(
            after: min(500_000_000, settings.handshakeTimeout / 2),
            token: EventToken.timer(.doorSweep).rawValue
        )
    }

    /// Answers 408 to peers whose request did not come in time, and closes idle ones.
    func sweep() {
        isSweepSet = false
        var isNeeded = false
        for connection in connections {
            guard let connection, let deadline = deadline(of: connection) else { continue }
            // A peer that was put off waits for us.
            if unsafe deadline > loop.now || connection.isPutOff {
                isNeeded = true
            } else if connection.isBlocked, hasTakenMore(connection) {
                isNeeded = true
            } else if connection.isBlocked {
                // If there are unread bytes on our side too, the kernel resets the connection.
                tally.counters[.httpUnread] += 1
                close(connection)
            } else if connection.exchange.isMidRequest, !connection.isLingering, !connection.exchange.isOver {
                tally.counters[.handshakeTimeouts] += 1
                connection.batch = nil
                setDate(connection)
                connection.exchange.fail(HTTPProblem(408, "request_timeout", "the request took too long to arrive"))
                markDirty(connection)
            } else {
                close(connection)
            }
        }
        if isNeeded { setSweep() }
    }

    /// Returns true if a peer has read something, even if not enough for our next write.
    private func hasTakenMore(_ connection: HTTPConnection) -> Bool {
        let untaken = StreamSocket.unsentBytes(connection.descriptor)
        defer { connection.untaken = untaken }
        guard untaken < connection.untaken else { return false }
        connection.lastTaken = unsafe loop.now
        return true
    }

    // MARK: Reading and writing

    func connection(_ index: Int, generation: UInt32) -> HTTPConnection? {
        guard connections.indices.contains(index), let connection = connections[index],
            connection.generation & 0xFF_FFFF == generation
        else {
            return nil
        }
        return connection
    }

    /// Handles an event of a peer's socket.
    ///
    /// `isLate` means that the turn has no time left for it.
    func ready(_ connection: HTTPConnection, _ event: EventLoop.Event, isLate: Bool, _ onEvent: OnEvent) {
        if event.isWritable {
            flush(connection)
            readOn(connection, isLate: isLate, onEvent)
        }
        guard event.isReadable, connection.descriptor >= 0 else { return }
        if isLate, !connection.isLingering { putOff(connection) } else { readable(connection, onEvent) }
    }

    func readable(_ connection: HTTPConnection, _ onEvent: OnEvent) {
        if connection.isLingering {
            drain(connection)
            return
        }
        if connection.isPutOff { return }
        guard wantsToRead(connection) else {
            watch(connection)
            return
        }
        let wasMidRequest = connection.exchange.isMidRequest
        let room = connection.exchange.isStreaming ? Self.streamReceiveSize : Self.receiveSize
        switch receiving.receive(connection.descriptor, appendingTo: &connection.exchange.input, room: room) {
        case .wouldBlock: return
        case .failed(let error): broke(connection, error)
        case .ended:
            connection.hasEnded = true
            connection.exchange.stopReading()
            settle(connection)
        case .moved(let count):
            connection.bytesRead += UInt64(count)
            if !wasMidRequest { connection.since = unsafe loop.now }
            connection.lastReceived = unsafe loop.now
            read(connection, onEvent)
            if connection.descriptor >= 0, connection.exchange.isReceivingBody, !growBody(connection) { return }
            if connection.exchange.isMidRequest { setSweep() }
        }
    }

    /// Reads requests that came together with those just answered, and waited in the buffer.
    ///
    /// `isLate` means that the turn has no time left for it.
    func readOn(_ connection: HTTPConnection, isLate: Bool, _ onEvent: OnEvent) {
        guard !isPaused, !connection.isPutOff, connection.descriptor >= 0, connection.exchange.isMidRequest,
            connection.exchange.outputCount < Self.mostUnsent
        else {
            return
        }
        if isLate { return putOff(connection) }
        // What has already come is handled even if no more may be received, or the peer has ended its side.
        read(connection, onEvent)
    }

    private func read(_ connection: HTTPConnection, _ onEvent: OnEvent) {
        setDate(connection)
        while connection.descriptor >= 0 {
            // A peer that does not read its answers gets no further ones, whatever it has already sent.
            if connection.exchange.outputCount > 2 * Self.mostUnsent {
                return markDirty(connection)
            }
            if connection.exchange.isMidRequest, isSpent(connection) {
                putOff(connection)
                break
            }
            let event = connection.exchange.next()
            if case .needsMore = event { break }
            connection.hasAsked = true
            if beginBody(connection, event) { onEvent(connection, event) }
            if connection.bodyBytes > 0, !connection.exchange.isReceivingBody { endBody(connection) }
        }
        if connection.batch != nil, connection.exchange.isOver {
            // What came is malformed, and the answer is cut short.
            connection.batch = nil
            endBody(connection)
            markDirty(connection)
        }
        if connection.batch != nil { onEvent(connection, .needsMore) }
        if connection.descriptor >= 0, connection.exchange.hasOutput { markDirty(connection) }
    }

    /// Drops what a peer sends after its last answer, and closes the connection when the peer has ended it.
    private func drain(_ connection: HTTPConnection) {
        var dropped: [UInt8] = []
        switch receiving.receive(connection.descriptor, appendingTo: &dropped, room: Self.receiveSize) {
        case .moved, .wouldBlock: return
        case .ended, .failed: close(connection)
        }
    }

    /// Answers a request when the answer is known; a peer that is gone by then gets none.
    func respond(_ connection: HTTPConnection, number: Int, _ response: HTTPResponse) {
        guard connection.descriptor >= 0 else { return }
        setDate(connection)
        connection.exchange.respond(to: number, response)
        markDirty(connection)
    }

    /// Notes that the peer has something to be written, or room for something to be read.
    func markDirty(_ connection: HTTPConnection) {
        if connection.isDirty { return }
        connection.isDirty = true
        dirty.append(connection)
    }

    /// Writes this turn's answers, and reads on where answers have made room.
    func flushDirty(_ onEvent: OnEvent) {
        // The clock is read only if some peer goes on.
        var end: UInt64?
        while !dirty.isEmpty {
            swap(&dirty, &flushing)
            defer { flushing.removeAll(keepingCapacity: true) }
            for connection in flushing {
                connection.isDirty = false
                guard connection.descriptor >= 0 else { continue }
                flush(connection)
                guard connection.exchange.isMidRequest else { continue }
                let now = Clock.monotonicNanoseconds()
                if end == nil { end = now + LaterQueue.share }
                readOn(connection, isLate: now >= end ?? .max, onEvent)
            }
        }
    }

    private func flush(_ connection: HTTPConnection) {
        if !connection.isBlocked { connection.lastTaken = unsafe loop.now }
        connection.exchange.prepareOutput()
        connection.exchange.takeAnswered { tally.counters[.answers(of: $0)] += 1 }
        while connection.exchange.hasOutput {
            let outcome = StreamSocket.send(
                connection.descriptor,
                connection.exchange.output,
                from: connection.exchange.outputStart
            )
            switch outcome {
            case .moved(let count):
                connection.exchange.didSend(count)
                connection.lastTaken = unsafe loop.now
                connection.untaken = .max
            case .wouldBlock, .ended:
                connection.isBlocked = true
                watch(connection)
                setSweep()
                return
            case .failed(let error): return broke(connection, error)
            }
        }
        connection.isBlocked = false
        settle(connection)
    }

    /// Closes a broken connection; if the kernel has given it up, the peer did not read its answers.
    private func broke(_ connection: HTTPConnection, _ error: SystemCallError) {
        if error.isGivenUp, connection.owesBytes { tally.counters[.httpUnread] += 1 }
        close(connection)
    }

    /// Sets the date of the peer's answers.
    private func setDate(_ connection: HTTPConnection) { connection.exchange.date = dateNow() }

    func dateNow() -> HTTPDate {
        date = date.at(unixSeconds: Clock.unixMilliseconds() / 1000)
        return date
    }

    // MARK: Ending

    /// Closes a connection on which everything is done, or goes on with it.
    private func settle(_ connection: HTTPConnection) {
        let isOver = connection.exchange.isOver || (connection.hasEnded && !connection.exchange.isWaiting)
        if connection.exchange.hasOutput { markDirty(connection) }
        if deadline(of: connection) != nil { setSweep() }
        guard isOver, !connection.owesBytes, !connection.isLingering else {
            watch(connection)
            return
        }
        if connection.hasEnded {
            close(connection)
            return
        }
        // Our end of file is sent first, so that the peer reads the answer before the connection is gone.
        StreamSocket.shutdownWriting(connection.descriptor)
        connection.isLingering = true
        connection.lastReceived = unsafe loop.now
        watch(connection)
        setSweep()
    }

    /// Returns true if more may be received from a peer, which it may not if the peer does not read its answers.
    private func wantsToRead(_ connection: HTTPConnection) -> Bool {
        !isPaused && !connection.hasEnded && connection.exchange.wantsInput
            && connection.exchange.outputCount < Self.mostUnsent
    }

    /// Makes epoll watch for exactly what can happen next.
    func watch(_ connection: HTTPConnection) {
        guard connection.descriptor >= 0 else { return }
        var interest: EventLoop.Interest = []
        if connection.isLingering || wantsToRead(connection) { interest.insert(.readable) }
        if connection.isBlocked { interest.insert(.writable) }
        guard interest != connection.interest else { return }
        do throws(SystemCallError) {
            if interest.isEmpty {
                loop.deregister(connection.descriptor)
            } else if connection.interest.isEmpty {
                try loop.register(connection.descriptor, token: connection.token, interest: interest)
            } else {
                try loop.modify(connection.descriptor, token: connection.token, interest: interest)
            }
            connection.interest = interest
        } catch {
            close(connection)
        }
    }
}
