// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The control socket: the HTTP API for operators, answered by the supervisor.
final class ControlServer {
    /// An operator's connection.
    final class Peer {
        let index: Int
        let descriptor: Int32
        var exchange: HTTPExchange
        var unsent: [UInt8] = []
        var isClosed = false
        /// When something was last received or sent (monotonic nanoseconds).
        var lastMoved: UInt64
        /// Whether it has ended its side.
        var hasEnded = false

        init(index: Int, descriptor: Int32, bodyBytes: Int, now: UInt64) {
            self.index = index
            lastMoved = now
            self.descriptor = descriptor
            exchange = HTTPExchange(limits: .init(bodyBytes: bodyBytes))
        }
    }

    /// An order that only the supervisor itself can carry out.
    enum Order {
        case restart(Int)
        case reload
        case scale(Int)
        case upgrade(asker: Int32)
        case stop
    }

    private static let mostPeers = 64
    /// How long an operator may pause while it sends a request or reads an answer.
    private static let patience: UInt64 = 60_000_000_000

    private let loop: EventLoop
    private let switchboard: Switchboard
    private let bodyBytes: Int
    private let token: (Int) -> UInt64
    private var peers: [Int: Peer] = [:]
    private var nextIndex = 0
    /// Orders for the supervisor, with the closures that answer them.
    private var orders: [(order: Order, respond: (HTTPResponse) -> Void)] = []

    /// Makes the server; `token` returns the loop's token for the peer with an index.
    init(loop: EventLoop, switchboard: Switchboard, bodyBytes: Int, token: @escaping (Int) -> UInt64) {
        self.loop = loop
        self.switchboard = switchboard
        self.bodyBytes = bodyBytes
        self.token = token
    }

    /// Accepts the connections that wait; false if that failed because there are no descriptors.
    func accept(_ listener: Int32) -> Bool {
        while true {
            let accepted: Listener.Accepted?
            do throws(SystemCallError) { accepted = try Listener.accept(listener) } catch { return false }
            guard let descriptor = accepted?.descriptor else { return true }
            nextIndex += 1
            let peer = unsafe Peer(index: nextIndex, descriptor: descriptor, bodyBytes: bodyBytes, now: loop.now)
            if peers.count >= Self.mostPeers { closeIdle() }
            guard peers.count < Self.mostPeers,
                (try? loop.register(descriptor, token: token(nextIndex), interest: .readable)) != nil
            else {
                closeDescriptor(descriptor)
                continue
            }
            peers[nextIndex] = peer
        }
    }

    /// Closes the connection that has been idle longest, so that idle operators do not keep others out.
    private func closeIdle() {
        let idle = peers.values.filter { $0.unsent.isEmpty && !$0.exchange.isWaiting && !$0.exchange.isMidRequest }
        if let longest = idle.min(by: { ($0.lastMoved, $0.index) < ($1.lastMoved, $1.index) }) { close(longest) }
    }

    func ready(_ index: Int, _ event: EventLoop.Event) {
        guard let peer = peers[index] else { return }
        if event.isWritable { flush(peer) }
        guard event.isReadable, !peer.isClosed else { return }
        // Operators send one request after another; a peer that sends a flood of them and reads no answers is closed.
        guard peer.exchange.wantsInput else {
            close(peer)
            return
        }
        switch StreamSocket.receive(peer.descriptor, appendingTo: &peer.exchange.input, room: 65536) {
        case .wouldBlock: return
        case .ended where peer.exchange.isWaiting:
            // It will send nothing more; its requests are still answered.
            peer.exchange.stopReading()
            peer.hasEnded = true
            watch(peer)
        case .ended, .failed: close(peer)
        case .moved:
            peer.lastMoved = unsafe loop.now
            read(peer)
        }
    }

    /// Closes peers that have begun a request, or have been answered, and do not go on; called now and then.
    func expire(now: UInt64) {
        for peer in peers.values where now > peer.lastMoved + Self.patience {
            if !peer.unsent.isEmpty || (peer.exchange.isMidRequest && !peer.exchange.isWaiting) { close(peer) }
        }
    }

    /// Takes the orders that operators have given since the last call.
    func takeOrders() -> [(order: Order, respond: (HTTPResponse) -> Void)] {
        defer { orders = [] }
        return orders
    }

    private func read(_ peer: Peer) {
        peer.exchange.date = date()
        while true {
            let event = peer.exchange.next()
            // Anyone who may open the socket may send bodies.
            if case .bodyAnnounced = event { continue }
            guard case .request(let request, let number, let body) = event else { break }
            do throws(HTTPProblem) {
                try carryOut(request, peer.exchange.input, body, from: peer.descriptor) {
                    [weak self, weak peer] response in
                    guard let self, let peer, !peer.isClosed else { return }
                    peer.exchange.date = self.date()
                    peer.exchange.respond(to: number, response)
                    self.flush(peer)
                }
            } catch {
                peer.exchange.respond(to: number, error.response)
            }
        }
        flush(peer)
    }

    private func date() -> HTTPDate { HTTPDate(unixSeconds: Clock.unixMilliseconds() / 1000) }

    private func carryOut(
        _ request: HTTPRequest,
        _ input: [UInt8],
        _ body: Range<Int>,
        from descriptor: Int32,
        _ respond: @escaping (HTTPResponse) -> Void
    ) throws(HTTPProblem) {
        let call = try APICall.parse(request)
        let text = input.span.extracting(body)
        switch call {
        case .health: respond(APIAnswer.healthy)
        case .node(let byUser): ask(.statistics(byUser: byUser), call, respond)
        case .shards, .shard, .readiness, .metrics: ask(.statistics(byUser: false), call, respond)
        case .command(let command): ask(command, call, respond)
        case .publish(let command, let isEvent):
            let now = Clock.unixMilliseconds()
            let publish = try Publish(command, isEvent: isEvent, body: text, of: request, unixMilliseconds: now)
            publish.withText(of: text) { ask(publish.request, $0, call, respond) }
        case .restart(let shard):
            guard switchboard.workers.indices.contains(shard) else {
                throw APIAnswer.unknownShard(among: switchboard.workers.count)
            }
            orders.append((.restart(shard), respond))
        case .reload: orders.append((.reload, respond))
        case .upgrade: orders.append((.upgrade(asker: descriptor), respond))
        case .stop:
            // If the operator has gone while the order waited for a supervisor, the order is void.
            if StreamSocket.hasEnded(descriptor) { throw .notFound }
            orders.append((.stop, respond))
        case .scale: orders.append((.scale(try workers(in: text)), respond))
        case .batch: throw HTTPProblem(404, "not_found", "batches are served only on the API's own socket")
        }
    }

    private func workers(in body: Span<UInt8>) throws(HTTPProblem) -> Int {
        let json = try? JSONValue(body)
        guard let count = json?["workers"]?.int else {
            throw .badRequest("say how many workers: {\"workers\": 4}")
        }
        return count
    }

    private func ask(_ command: Command, _ call: APICall, _ respond: @escaping (HTTPResponse) -> Void) {
        let nothing: [UInt8] = []
        ask(Request(command), nothing.span, call, respond)
    }

    private func ask(
        _ request: Request,
        _ text: Span<UInt8>,
        _ call: APICall,
        _ respond: @escaping (HTTPResponse) -> Void
    ) {
        unsafe switchboard.ask(request, text: text, now: loop.now) { reply in
            respond(APIAnswer.response(to: call, reply))
        }
    }

    private func flush(_ peer: Peer) {
        guard !peer.isClosed else { return }
        peer.unsent += peer.exchange.takeOutput()
        peer.exchange.takeAnswered { _ in }
        while !peer.unsent.isEmpty {
            switch StreamSocket.send(peer.descriptor, peer.unsent, from: 0) {
            case .moved(let count):
                peer.unsent.removeFirst(count)
                peer.lastMoved = unsafe loop.now
            case .wouldBlock:
                watch(peer)
                return
            case .ended, .failed:
                close(peer)
                return
            }
        }
        watch(peer)
        if peer.exchange.isOver { close(peer) }
    }

    private func watch(_ peer: Peer) {
        var interest: EventLoop.Interest = peer.hasEnded ? [] : .readable
        if !peer.unsent.isEmpty { interest.insert(.writable) }
        try? loop.modify(peer.descriptor, token: token(peer.index), interest: interest)
    }

    private func close(_ peer: Peer) {
        peer.isClosed = true
        loop.deregister(peer.descriptor)
        closeDescriptor(peer.descriptor)
        peers.removeValue(forKey: peer.index)
    }

    /// Ends every connection except the one with this descriptor.
    func stop(except kept: Int32 = -1) {
        for peer in peers.values where peer.descriptor != kept { close(peer) }
    }
}
