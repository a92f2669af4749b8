internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// One shard's process: one thread, one loop, and everything on it.
///
/// Each turn of the loop enters the manager's isolation once and handles everything that is ready; at its end all that
/// was queued leaves: WebSocket frames, answers, words to the supervisor.
final class Worker {
    private let loop: EventLoop
    private let contract: BirthContract
    private let manager: WebSocketManager
    private let sockets: SocketTable
    private let shard: Shard
    private let door: Door
    private let link: Link
    private let router: Router
    private let post: DescriptorChannel
    private let logSink = LogSink()
    private let log: Logger
    private var isPostWritable = false
    private var isSweepSet = false
    private var isStopping = false

    /// Lives until the supervisor says stop.
    static func run() throws {
        // A terminal sends its signals to all of us; the supervisor alone decides.
        SignalSource.block([.hangup, .interrupt, .terminate])
        SignalSource.ignoreBrokenPipes()
        let descriptor = BirthContract.Descriptor.contract
        let bytes = try SharedMemory.contents(of: descriptor, limit: BirthContract.largestContract)
        closeDescriptor(descriptor)
        let contract = try BirthContract(bytes)
        // The arena is mapped for as long as the process lives.
        let mapping = try MemoryMapping(of: BirthContract.Descriptor.arena)
        let header = unsafe try ArenaHeader(unsafe Array(mapping.bytes.prefix(4096)), memorySize: mapping.bytes.count)
        let memory = ArenaMapping(mapping)
        let arena = unsafe try Arena(
            formatting: memory.mapping.bytes,
            layout: header.layout,
            shard: contract.shard,
            generation: contract.generation
        ) { memory.mapping.discard(offset: $0, count: $1) }
        let worker = try Worker(contract: contract, arena: arena)
        worker.serve()
    }

    private init(contract: BirthContract, arena: Arena) throws {
        self.contract = contract
        let limit = CurrentProcess.raiseDescriptorLimit()
        loop = try EventLoop()
        sockets = SocketTable(
            loop: loop,
            arena: arena,
            limits: .init(messageBytes: Int(contract.maxMessageBytes), queueBytes: Int(contract.queueBytes))
        )
        // The manager and the turn share the sockets; both run on the loop's thread only.
        nonisolated(unsafe) let transport: any Transport = sockets
        manager = unsafe WebSocketManager(executor: loop, transport: transport)
        shard = Shard(
            number: Int(contract.shard),
            sockets: sockets,
            heartbeatInterval: contract.heartbeatInterval
        )
        let sink = logSink
        log = Logger(label: "martlet-worker", factory: { _ in LinkLogHandler(sink: sink) })
        link = try Link(
            descriptor: BirthContract.Descriptor.link,
            shard: contract.shard,
            bound: Int(contract.linkBytes),
            loop: loop
        )
        router = Router(shard: Int(contract.shard), generation: contract.generation, map: contract.map, link: link)
        post = DescriptorChannel(
            owning: BirthContract.Descriptor.post,
            window: max(8, min(1024, limit / 8)),
            bound: max(8, min(1024, limit / 8))
        )
        let first = BirthContract.Descriptor.firstListener
        let clients = (0..<Int32(contract.clientListeners)).map { first + $0 }
        let apis = (0..<Int32(contract.apiListeners)).map { first + Int32(contract.clientListeners) + $0 }
        door = Door(
            loop: loop,
            settings: .init(
                clientListeners: clients,
                apiListeners: apis,
                maxBodyBytes: Int(contract.maxBodyBytes),
                isDevelopment: contract.isDevelopment,
                handshakeTimeout: contract.handshakeTimeout,
                descriptorReserve: limit - max(8, min(1024, limit / 8)) - 64
            ),
            log: log
        )
        try loop.register(post.descriptor, token: Token(.post).rawValue, interest: .readable)
    }

    private func serve() {
        door.startAccepting()
        link.send(.ready)
        link.flush()
        loop.setTimer(after: contract.livenessInterval, token: Token.timer(.beat).rawValue)
        // All of the worker is touched on the loop's thread only, which is where the manager lives.
        nonisolated(unsafe) let worker = self
        loop.run { events in
            manager.assumeIsolated { manager in unsafe worker.turn(events, manager) }
        }
    }

    // MARK: A turn

    private func turn(_ events: [EventLoop.Event], _ manager: isolated WebSocketManager) {
        for event in events {
            guard let token = Token(event.token) else { continue }
            switch token.kind {
            case .socket:
                if sockets.isCurrent(token.index, generation: token.generation) {
                    shard.ready(token.index, event, on: manager)
                }
            case .peer:
                if let peer = door.peer(token.index, generation: token.generation) {
                    door.ready(peer, event) { requested($0, $1, $2, $3, manager) }
                }
            case .listener: door.accept(token.index) { requested($0, $1, $2, $3, manager) }
            case .link: linkReady(event, manager)
            case .post: postReady(manager)
            case .timer: timerFired(token, manager)
            }
        }
        endTurn(manager)
    }

    private func endTurn(_ manager: isolated WebSocketManager) {
        sockets.flushDirty()
        door.flushDirty { requested($0, $1, $2, $3, manager) }
        // Answering may have made requests that were waiting send more.
        sockets.flushDirty()
        shard.release(on: manager)
        setSweep()
        for line in logSink.take() { link.send(.log, line.bytes) }
        link.flush()
        post.flush()
        watchPost()
        if sockets.shrinkWhenEmpty() {
            door.shrinkWhenEmpty()
            CurrentProcess.trimHeap()
        }
        if link.isBroken { beginStopping(manager) }
        if isStopping, sockets.count == 0, door.count == 0 { loop.stop() }
    }

    private func setSweep() {
        guard !isSweepSet, let earliest = sockets.closing.earliest else { return }
        isSweepSet = true
        loop.setTimer(deadline: earliest, token: Token.timer(.socketSweep).rawValue)
    }

    private func timerFired(_ token: Token, _ manager: isolated WebSocketManager) {
        switch Token.Timer(rawValue: UInt32(token.index)) {
        case .beat:
            link.send(.alive, CommandCoding.encode(.shard(shard.statistics(byUser: false, of: manager))))
            loop.setTimer(after: contract.livenessInterval, token: Token.timer(.beat).rawValue)
            for asker in unsafe router.expire(now: loop.now) {
                let reply = CommandReply.failed(.shardUnavailable(partial: nil))
                door.respond(asker.peer, number: asker.number, APIAnswer.response(to: asker.call, reply))
            }
        case .socketSweep:
            isSweepSet = false
            _ = unsafe sockets.sweep(now: loop.now)
        case .doorSweep: door.sweep()
        case .acceptAgain: if !isStopping { door.startAccepting() }
        case .stopDeadline, nil: loop.stop()
        }
    }

    // MARK: Requests

    private func requested(
        _ peer: HTTPPeer,
        _ request: HTTPRequest,
        _ number: Int,
        _ body: Range<Int>,
        _ manager: isolated WebSocketManager
    ) {
        if peer.kind == .client {
            let path = contract.clientPath
            switch ClientRequest(request, path: path, isDevelopment: contract.isDevelopment) {
            case .api: break
            case .answer(let response):
                door.respond(peer, number: number, response)
                return
            case .upgrade(let user, let thread, let service, let accepted):
                let ticket = AdoptionTicket(
                    destination: contract.shard,
                    source: contract.shard,
                    service: service,
                    user: user,
                    thread: thread,
                    acceptValue: accepted.acceptValue,
                    subprotocol: accepted.subprotocol,
                    bytesRead: peer.bytesRead,
                    leftover: Array(peer.exchange.remainder)
                )
                upgrade(peer, number, ticket, manager)
                return
            }
        }
        call(peer, request, number, body, manager)
    }

    private func call(
        _ peer: HTTPPeer,
        _ request: HTTPRequest,
        _ number: Int,
        _ body: Range<Int>,
        _ manager: isolated WebSocketManager
    ) {
        do throws(HTTPProblem) {
            if contract.isDevelopment { try ClientRequest.refuseForeignPages(request) }
            let call = try APICall.parse(request)
            let asker = Router.Asker(peer: peer, number: number, call: call)
            switch call {
            case .health: door.respond(peer, number: number, APIAnswer.healthy)
            case .node(let byUser): carryOut(.statistics(byUser: byUser), 0..<0, asker, manager)
            case .shards, .shard, .readiness: carryOut(.statistics(byUser: false), 0..<0, asker, manager)
            case .command(let command):
                if command.carriesText { try checkJSON(peer.exchange.input, body) }
                carryOut(command, body, asker, manager)
            }
        } catch {
            door.respond(peer, number: number, error.response)
        }
    }

    private func checkJSON(_ input: [UInt8], _ body: Range<Int>) throws(HTTPProblem) {
        do throws(JSONFailure) {
            try JSONScanner.validate(input.span.extracting(body))
        } catch {
            throw APIAnswer.problem(error)
        }
    }

    private func carryOut(
        _ command: Command,
        _ body: Range<Int>,
        _ asker: Router.Asker,
        _ manager: isolated WebSocketManager
    ) {
        let input = asker.peer.exchange.input
        let text = input.span.extracting(body)
        let reply: CommandReply
        switch unsafe router.route(command, text: text, for: asker, now: loop.now) {
        case .elsewhere: return
        case .answered(let known): reply = known
        case .here: reply = shard.execute(command, text: text, on: manager)
        }
        door.respond(asker.peer, number: asker.number, APIAnswer.response(to: asker.call, reply))
    }

    // MARK: Clients

    private func upgrade(
        _ peer: HTTPPeer,
        _ number: Int,
        _ ticket: AdoptionTicket,
        _ manager: isolated WebSocketManager
    ) {
        var ticket = ticket
        let owner =
            ticket.service == .echo
            ? (shard: Int(contract.shard), isServing: true)
            : router.owner(ofUser: ticket.user)
        let refusal: HTTPProblem? =
            if isStopping || !owner.isServing {
                APIAnswer.problem(.shardUnavailable(partial: nil))
            } else if ticket.leftover.count > AdoptionTicket.largestLeftover || peer.owesBytes
                || peer.exchange.waitingCount > 1
            {
                .badRequest("wait for the answer before you send frames")
            } else {
                nil
            }
        if let refusal {
            door.respond(peer, number: number, refusal.response)
            return
        }
        ticket.destination = UInt16(owner.shard)
        let descriptor = door.takeSocket(of: peer)
        if owner.shard == Int(contract.shard) {
            adopt(descriptor, ticket, manager)
        } else {
            pass(descriptor, ticket)
        }
    }

    private func adopt(_ descriptor: Int32, _ ticket: AdoptionTicket, _ manager: isolated WebSocketManager) {
        if isStopping || !shard.adopt(descriptor, ticket, on: manager) {
            door.refuse(descriptor, HTTPProblem(503, "full", "no room for another connection").with("Retry-After", "5"))
        }
    }

    private func pass(_ descriptor: Int32, _ ticket: AdoptionTicket) {
        do throws(DescriptorChannel.Refusal) {
            try post.send(ticket.bytes, descriptor: descriptor)
        } catch {
            log.warning("Cannot pass a client to its shard", metadata: ["why": "\(error)"])
            door.refuse(descriptor, APIAnswer.problem(.shardUnavailable(partial: nil)))
        }
    }

    private func postReady(_ manager: isolated WebSocketManager) {
        while let packet = post.receive() {
            guard let descriptor = packet.descriptor else { continue }
            guard let ticket = try? AdoptionTicket(packet.bytes) else {
                log.error("A client came with a ticket that cannot be read")
                closeDescriptor(descriptor)
                continue
            }
            if ticket.isReturned || !router.isMine(ticket.destination) {
                door.refuse(descriptor, APIAnswer.problem(.shardUnavailable(partial: nil)))
            } else {
                adopt(descriptor, ticket, manager)
            }
        }
    }

    private func watchPost() {
        if post.isClosed {
            loop.deregister(post.descriptor)
            return
        }
        guard post.wantsToWrite != isPostWritable else { return }
        isPostWritable = post.wantsToWrite
        let interest: EventLoop.Interest = isPostWritable ? [.readable, .writable] : .readable
        try? loop.modify(post.descriptor, token: Token(.post).rawValue, interest: interest)
    }

    // MARK: Words

    private func linkReady(_ event: EventLoop.Event, _ manager: isolated WebSocketManager) {
        if event.isWritable { link.flush() }
        guard event.isReadable else { return }
        link.receive { frame in
            do throws(WireError) {
                try heard(frame, manager)
            } catch {
                log.error("Cannot read a frame of the supervisor", metadata: ["kind": "\(frame.header.kind)"])
            }
        }
    }

    private func heard(_ frame: PeerStream.Frame, _ manager: isolated WebSocketManager) throws(WireError) {
        let input = link.input
        switch frame.header.kind {
        case .stop: beginStopping(manager)
        case .shardStates: router.update(try ShardStates(input, in: frame.payload))
        case .command:
            let (command, textStart) = try CommandCoding.decode(input, in: frame.payload)
            let text = input.span.extracting(textStart..<frame.payload.upperBound)
            link.reply(CommandCoding.encode(shard.execute(command, text: text, on: manager)), to: frame.header)
        case .reply:
            guard let asker = router.asker(of: frame.header.correlation) else { return }
            let reply = (try? CommandCoding.decodeReply(input, in: frame.payload)) ?? .failed(.malformed)
            door.respond(asker.peer, number: asker.number, APIAnswer.response(to: asker.call, reply))
        case .ready, .alive, .log: break
        }
    }

    // MARK: Stopping

    /// Closes everybody with 1001 and exits when they have answered, or when their time is over.
    private func beginStopping(_ manager: isolated WebSocketManager) {
        guard !isStopping else { return }
        isStopping = true
        door.beginStopping()
        manager.disconnectAll(.goingAway)
        sockets.closeAll(.goingAway)
        sockets.flushDirty()
        loop.setTimer(after: contract.stopTimeout, token: Token.timer(.stopDeadline).rawValue)
    }
}

/// The arena's mapping, shared by the arena and what gives its pages back.
private final class ArenaMapping {
    let mapping: MemoryMapping

    init(_ mapping: consuming MemoryMapping) {
        self.mapping = mapping
    }
}
