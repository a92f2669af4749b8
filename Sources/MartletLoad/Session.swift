// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import NIOCore
internal import NIOPosix

/// A client whose connection outlives its sockets.
///
/// It counts text messages in both directions, resumes with its newest token, sends again what the server has not
/// handled, and says what it has received. It lives on its loop.
final class Session {
    enum State {
        /// Until the first message of a socket.
        case connecting
        case open
        /// Until the next attempt.
        case away
        /// For good.
        case closed
    }

    /// How sessions reach the server.
    struct Road {
        let host: String
        let port: Int
        let tokens: Tokens
    }

    /// Messages are confirmed when there are so many, or some time after the first one.
    private static let confirmEvery = 32
    private static let confirmWithin: ClosedRange<Int64> = 300...3000
    /// How long a handshake may take, and the answer to a ping when a stall is suspected.
    private static let openWithin = TimeAmount.seconds(10)
    private static let answerWithin: ClosedRange<Int64> = 200...500
    private static let longestPause: Int64 = 2000
    /// Close codes that leave the session waiting.
    private static let harmless: Set = [1011, 1012, 1013, 4401, 4408]
    /// How many of its own messages a client sends before an answer comes, and how many rooms it uses for them.
    private static let mostUnanswered = 6
    private static let ownRooms = 8

    let number: Int
    private(set) var state = State.away
    /// How many messages the client has sent that are answered once each.
    private(set) var said = 0
    /// Whether its session ended because it was away for too long: nothing more is expected of it.
    private(set) var isExpired = false

    private let user: String
    private let path: String
    private let road: Road
    private let loop: any EventLoop
    private let tally: SessionTally
    private let onOpen: (Session) -> Void

    /// Counts sockets, so that what comes from earlier ones is ignored.
    private var attempt = 0
    private var failures = 0
    private var channel: (any Channel)?
    private var socket: LoadClient?
    private var deadline = NIODeadline.now()
    private var lostAt = NIODeadline.now()

    private var id = ""
    private var token: String?
    private var window = TimeAmount.seconds(0)
    private var hasBeenOpen = false
    private var received = 0
    private var confirmed = 0
    private var confirmAt: NIODeadline?
    /// How many texts were put on sockets, and what of them the server has not confirmed, by number.
    private var count = 0
    private var sent: [(number: Int, text: String)] = []
    private var waiting: [String] = []
    /// How many of its messages the server has said it has handled; that never goes back.
    private var handled = 0
    /// The number of the ping that must be answered, and until when.
    private var probe: (number: Int, until: NIODeadline)?

    /// Plans a session; `tick` connects it.
    init(
        _ number: Int,
        user: String,
        path: String,
        _ road: Road,
        _ tally: SessionTally,
        on loop: any EventLoop,
        onOpen: @escaping (Session) -> Void
    ) {
        self.number = number
        self.user = user
        self.path = path
        self.road = road
        self.tally = tally
        self.loop = loop
        self.onOpen = onOpen
    }

    /// The threads that a session's token must allow, beside those in its path.
    static let threads = (0..<ownRooms).map { "own-\($0)" }

    /// The port of its socket.
    var port: Int? { channel?.localAddress?.port }

    // MARK: One socket after another

    /// Does what is due.
    func tick(_ now: NIODeadline) {
        switch state {
        case .away: if now >= deadline { connect() }
        case .connecting:
            if now >= deadline { giveUp("no greeting within \(Self.openWithin.nanoseconds / 1_000_000) ms") }
        case .open:
            if let probe, now >= probe.until { return giveUp("no pong") }
            if let confirmAt, now >= confirmAt { confirm() }
        case .closed: break
        }
    }

    func connect() {
        state = .connecting
        deadline = .now() + Self.openWithin
        attempt += 1
        let mine = attempt
        let client = LoadClient(number: number) { [weak self] _, message in
            self?.arrived(mine, message)
        } onEnd: { [weak self] client in
            self?.ended(mine, client.closeCode, "the connection ended")
        }
        socket = client
        let done = loop.makePromise(of: Void.self)
        let request = request()
        // The bootstrap needs Sendable closures; everything here stays on the loop on which they run.
        let parts = NIOLoopBound((self, client), eventLoop: loop)
        ClientBootstrap(group: loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 2048))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (session, client) = parts.value
                    if session.attempt == mine { session.channel = channel }
                    try channel.pipeline.syncOperations.addHandler(
                        HandshakeHandler(request: request, client: client, done: done)
                    )
                }
            }
            .connect(host: road.host, port: road.port)
            .whenFailure { done.fail($0) }
        done.futureResult.whenFailure { parts.value.0.ended(mine, nil, "\($0)") }
    }

    private func request() -> ByteBuffer {
        let offer = token.map { "resume.\($0).\(received)" } ?? "resume.new"
        return ByteBuffer(
            string: "GET \(path) HTTP/1.1\r\nHost: \(road.host):\(road.port)\r\nUpgrade: websocket\r\n"
                + "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \(Crowd.key())\r\n"
                + "Sec-WebSocket-Protocol: martlet, \(offer)\r\n\(road.tokens.field(for: user))\r\n"
        )
    }

    /// Breaks a socket on which nothing seems to arrive any more.
    private func giveUp(_ why: String) {
        tally.givenUp += 1
        let old = channel
        ended(attempt, nil, why)
        attempt += 1
        if Bool.random() { old?.reset() } else { old?.close(promise: nil) }
    }

    private func ended(_ mine: Int, _ code: Int?, _ why: String) {
        guard mine == attempt, state != .closed, state != .away else { return }
        var pause: Int64 = 200
        if state == .open {
            failures = 0
            lostAt = .now()
            if let code, !Self.harmless.contains(code) {
                tally.dropped += 1
                tally.addDetail("session \(number) was closed with \(code)")
            }
        } else {
            failures += 1
            tally.failures[code.map { "closed with \($0)" } ?? why, default: 0] += 1
            pause = min(Self.longestPause, 100 << Int64(min(failures, 5)))
        }
        (socket, channel, probe) = (nil, nil, nil)
        state = .away
        deadline = .now() + .milliseconds(.random(in: 0...pause))
    }

    /// Closes the session in order; without a socket, the server lets it wait.
    func close() {
        if state == .open { socket?.end() } else { channel?.close(promise: nil) }
        state = .closed
    }

    /// Whether its last socket is gone.
    var isGone: Bool { socket?.hasEnded ?? true }

    // MARK: Receiving

    private func arrived(_ mine: Int, _ message: ByteBuffer) {
        guard mine == attempt else { return }
        if state == .connecting { return greeted(message) }
        guard state == .open else { return }
        received += 1
        if confirmAt == nil { confirmAt = .now() + .milliseconds(.random(in: Self.confirmWithin)) }
        if let message = NumberedMessage(message) {
            tally.arrivals.add(message.number, message.sequence, to: number)
        } else {
            heed(message)
        }
        if received - confirmed >= Self.confirmEvery { confirm() }
    }

    /// The first message of a socket does not count; it says whether the session goes on.
    private func greeted(_ message: ByteBuffer) {
        guard let greeting = Greeting(message) else {
            return tally.addFault("session \(number): no greeting, but \(String(buffer: message).prefix(200))")
        }
        let hadToken = token != nil
        var again: [String] = []
        if hadToken, let resumption = greeting.resumption {
            again = resume(greeting, resumption)
        } else if hasBeenOpen {
            refused(greeting.problem ?? "the server offers no sessions")
            if isExpired { return }
            (received, count, handled) = (0, 0, 0)
        } else {
            tally.opened += 1
        }
        (id, token, window) = (greeting.connection, greeting.session, greeting.window)
        state = .open
        confirmed = received
        confirmAt = nil
        sent = []
        let texts = again + waiting
        waiting = []
        for text in texts { send(text) }
        if hadToken, Bool.random() { confirm() }
        if !hasBeenOpen {
            hasBeenOpen = true
            onOpen(self)
        }
    }

    /// Goes on with the session; returns what is to be sent again.
    private func resume(_ greeting: Greeting, _ resumption: Greeting.Resumption) -> [String] {
        tally.resumes += 1
        tally.replayed += resumption.replay
        tally.absences.add(UInt64((NIODeadline.now() - lostAt).nanoseconds))
        if greeting.connection != id {
            tally.addFault("session \(number) had the id \(id), and now \(greeting.connection)")
        }
        if !(handled...count).contains(resumption.received) {
            tally.addFault("session \(number): \(resumption.received) were handled, not \(handled) to \(count)")
        }
        (handled, count) = (resumption.received, resumption.received)
        let again = sent.filter { $0.number > count }.map(\.text)
        tally.sentAgain += again.count
        return again
    }

    private func refused(_ why: String) {
        let away = NIODeadline.now() - lostAt
        if token != nil, away >= window {
            tally.expired += 1
            isExpired = true
            close()
            return
        }
        tally.refused[why, default: 0] += 1
    }

    private func heed(_ message: ByteBuffer) {
        let object = try? JSONSerialization.jsonObject(with: Data(message.readableBytesView)) as? [String: Any]
        switch object?["type"] as? String {
        case "pong":
            // Pongs that are replayed are old, and confirm nothing new.
            handled = max(handled, object?["received"] as? Int ?? count)
            sent.removeAll { $0.number <= handled }
            if let asked = probe?.number, handled >= asked { probe = nil }
        // The next socket shows a new token.
        case "token_expiring": break
        case "thread_joined", "thread_left":
            let room = (object?["thread_id"] as? String).flatMap { Self.threads.firstIndex(of: $0) }
            guard let room else { fallthrough }
            answered(2 * room + (object?["type"] as? String == "thread_joined" ? 0 : 1))
        default: tally.addFault("session \(number) got \(String(buffer: message).prefix(200))")
        }
    }

    /// Counts an answer: it is the one of the few that it can be.
    private func answered(_ answer: Int) {
        let cycle = 2 * Self.ownRooms
        let next = tally.arrivals.highest(.echo, of: number) + 1
        let ahead = (answer - (next - 1) % cycle + cycle) % cycle
        tally.arrivals.add(next + (ahead < Self.ownRooms ? ahead : ahead - cycle), .echo, to: number)
    }

    // MARK: Sending

    /// Joins a room or leaves it again, unless too many answers have not come yet.
    func talk() {
        guard state != .closed, said - tally.arrivals.highest(.echo, of: number) < Self.mostUnanswered else { return }
        let kind = said % 2 == 0 ? "join" : "leave"
        let text = "{\"type\":\"\(kind)_thread\",\"thread_id\":\"\(Self.threads[said / 2 % Self.ownRooms])\"}"
        said += 1
        if state == .open { send(text) } else { waiting.append(text) }
    }

    /// Asks whether anybody is there; without an answer, the socket is given up.
    func suspect() {
        guard state == .open, probe == nil else { return }
        ping()
        probe = (count, .now() + .milliseconds(.random(in: Self.answerWithin)))
    }

    private func send(_ text: String) {
        write(text)
        if token != nil { sent.append((count, text)) }
    }

    /// Says how many messages have come, and asks for the same if there is something to be confirmed.
    private func confirm() {
        confirmAt = nil
        guard token != nil else { return }
        if sent.isEmpty {
            confirmed = received
            write("{\"type\":\"ack\",\"received\":\(received)}")
        } else {
            ping()
        }
    }

    private func ping() {
        if token == nil { return write("{\"type\":\"ping\"}") }
        confirmed = received
        confirmAt = nil
        write("{\"type\":\"ping\",\"received\":\(received)}")
    }

    private func write(_ text: String) {
        count += 1
        socket?.send(ByteBuffer(string: text))
    }
}
