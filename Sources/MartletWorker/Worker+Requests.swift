// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// What HTTP requests ask for: the API, upgrades, batches.

extension Worker {
    /// Handles an event of an HTTP connection.
    func asked(_ connection: HTTPConnection, _ event: HTTPExchange.Event, _ manager: isolated WebSocketManager) {
        switch event {
        case .request(let request, let number, _), .bodyAnnounced(let request, let number, _),
            .streamBegan(let request, let number):
            do throws(HTTPProblem) {
                if contract.isDevelopment { try checkPage(connection, request) }
            } catch {
                let call = HTTPCall(connection: connection, request: request, number: number, body: 0..<0)
                return refuse(call, error)
            }
        case .line, .lineTooLong, .streamEnded, .needsMore: break
        }
        switch event {
        case .request(let request, let number, let body):
            requested(HTTPCall(connection: connection, request: request, number: number, body: body), manager)
        case .bodyAnnounced(let request, let number, _): bodyAnnounced(connection, request, number)
        case .streamBegan(let request, let number): batchBegan(connection, request, number)
        case .line(let range): batchLine(connection, range, manager)
        case .lineTooLong: batchLineTooLong(connection)
        case .streamEnded: batchEnded(connection)
        case .needsMore: if let batch = connection.batch { sendParcels(of: batch) }
        }
    }

    /// Throws if a page of another site sends a request, in development.
    ///
    /// No page can reach a Unix socket, where a `Host` field may have any value.
    private func checkPage(_ connection: HTTPConnection, _ request: HTTPRequest) throws(HTTPProblem) {
        do throws(HTTPProblem) {
            try ClientRequest.refuseForeignPages(request)
        } catch {
            if StreamSocket.isConnection(connection.descriptor) { throw error }
        }
    }

    private func refuse(_ call: HTTPCall, _ problem: HTTPProblem) {
        var response = problem.response
        if call.connection.kind == .client {
            let isForEvents = isAboutEvents(call.request, call.connection)
            if isForEvents, problem.status != 403 || problem.code != Gatekeeper.foreignOrigin {
                response = response.readableByPages
            }
            if call.request.hasPath(text: contract.client.path) || (isForEvents && call.request.method == .get) {
                count(refusal: problem)
                // Another attempt needs another connection.
                response.closes = true
            }
        }
        door.respond(call.connection, number: call.number, response)
    }

    /// Refuses a request that its sender may not make, before any of its body is read.
    private func bodyAnnounced(_ connection: HTTPConnection, _ request: HTTPRequest, _ number: Int) {
        do throws(HTTPProblem) {
            if isAboutEvents(request, connection) { return try checkPost(request, connection) }
            try authorize(connection, request)
            _ = try APICall.parse(request)
        } catch {
            refuse(HTTPCall(connection: connection, request: request, number: number, body: 0..<0), error)
        }
    }

    private func requested(_ call: HTTPCall, _ manager: isolated WebSocketManager) {
        do throws(HTTPProblem) {
            if call.connection.kind == .client {
                let request = call.request
                let eventPath = gatekeeper.eventPath
                if request.hasPath(text: contract.client.path) || isAboutEvents(request, call.connection) {
                    try gatekeeper.checkOrigin(request)
                }
                let isDevelopment = contract.isDevelopment
                switch try ClientRequest(request, contract.client, eventPath: eventPath, isDevelopment: isDevelopment) {
                case .api: break
                case .events: return try connect(call, nil, manager)
                case .post, .end: return try post(call, manager)
                case .answer(let response):
                    return door.respond(call.connection, number: call.number, response)
                case .echo(let accepted):
                    let bearer = Bearer(user: ClientRequest.echoUser)
                    let caller = gatekeeper.caller(of: request, from: call.connection.address)
                    return upgrade(call, ticket(.echo, call, bearer, from: caller, accepted), manager)
                case .messages(let accepted): return try connect(call, accepted, manager)
                }
            }
            try perform(call, manager)
        } catch {
            refuse(call, error)
        }
    }

    /// Lets a client in that asks for a connection of its user; `accepted` is nil if it asks for server-sent events.
    ///
    /// One that asks for a session is let in in any case, and then told why it may not stay.
    private func connect(
        _ call: HTTPCall,
        _ accepted: Handshake.Accepted?,
        _ manager: isolated WebSocketManager
    ) throws(HTTPProblem) {
        let request = call.request
        let caller = gatekeeper.caller(of: request, from: call.connection.address)
        let resume = try ResumeOffer(request)
        do throws(HTTPProblem) {
            let bearer = try gatekeeper.bearer(of: request, from: caller)
            try gatekeeper.admitHandshake()
            if let job = bearer.job, let given = request.parameters?.value(of: "job_id"), !given.isExactly(job) {
                let event = ManagerEvent.jobRenamed(given: "\(given.prefix(64))", inForce: job)
                // Anybody can cause this, so it is not a warning.
                log.debug("\(event.message)", metadata: ["in_force": "\(job)"])
            }
            var ticket = ticket(.messages, call, bearer, from: caller, accepted)
            ticket.resume = resume
            upgrade(call, ticket, manager)
        } catch {
            logRefusal(error, from: caller.address?.text, origin: request[.origin])
            // Whoever waits for other answers on this connection gets this one, too, as HTTP.
            guard accepted != nil, resume != nil, error.closeCode != nil, call.connection.isDone else { throw error }
            let bearer = Bearer(user: "")
            var ticket = ticket(.messages, call, bearer, from: caller, accepted)
            ticket.resume = resume
            count(refusal: error)
            turnAway(door.takeSocket(of: call.connection), ticket, error)
        }
    }

    /// Throws unless the peer may use the API.
    private func authorize(_ connection: HTTPConnection, _ request: HTTPRequest) throws(HTTPProblem) {
        if connection.kind == .metrics { return try checkReader(request) }
        if contract.isDevelopment {
            connection.isKnown = true
            return
        }
        // The listeners for clients do not serve the API.
        guard connection.kind == .api else { throw .notFound }
        let isTrusted = connection.isTrusted ?? gatekeeper.isTrusted(connection.descriptor)
        connection.isTrusted = isTrusted
        do throws(HTTPProblem) {
            try gatekeeper.checkBackend(request, isTrusted: isTrusted)
        } catch {
            tally.counters[.apiUnauthorized] += 1
            throw error
        }
        connection.isKnown = true
    }

    /// Throws unless this asks for the metrics, whose own socket serves nothing else, and needs no key.
    private func checkReader(_ request: HTTPRequest) throws(HTTPProblem) {
        guard request.hasPath("/metrics") else {
            throw HTTPProblem(404, "not_found", "this socket serves GET /metrics only")
        }
    }

    /// Does what a call of the API asks for.
    private func perform(_ http: HTTPCall, _ manager: isolated WebSocketManager) throws(HTTPProblem) {
        let (connection, request) = (http.connection, http.request)
        if connection.kind == .metrics { try checkReader(request) }
        let call: APICall
        do throws(HTTPProblem) {
            call = try APICall.parse(request)
        } catch {
            // Only a peer that may use the API learns what it contains.
            try authorize(connection, request)
            throw error
        }
        if call == .health { return door.respond(connection, number: http.number, APIAnswer.healthy) }
        if call != .readiness { try authorize(connection, request) }
        let nothing: [UInt8] = []
        let now = Clock.monotonicNanoseconds()
        let asker = Router.Asker.connection(connection, number: http.number, call: call, since: now)
        switch call {
        case .node(let byUser): carryOut(Request(.statistics(byUser: byUser)), nothing.span, asker, manager)
        case .shards, .shard, .readiness, .metrics:
            carryOut(Request(.statistics(byUser: false)), nothing.span, asker, manager)
        case .command(let command):
            if command.isAboutTokens { throw .notFound }
            carryOut(Request(command), nothing.span, asker, manager)
        case .publish(let command, let isEvent):
            try publish(command, isEvent: isEvent, of: http, asker, manager)
        case .health, .batch, .restart, .reload, .scale, .upgrade, .stop: throw .notFound
        }
    }

    private func publish(
        _ command: Command,
        isEvent: Bool,
        of http: HTTPCall,
        _ asker: Router.Asker,
        _ manager: isolated WebSocketManager
    ) throws(HTTPProblem) {
        let input = http.connection.exchange.input
        let text = input.span.extracting(http.body)
        tally.counters[.publishes] += 1
        let now = Clock.unixMilliseconds()
        let publish = try Publish(command, isEvent: isEvent, body: text, of: http.request, unixMilliseconds: now)
        publish.withText(of: text) { carryOut(publish.request, $0, asker, manager) }
    }

    func carryOut(
        _ request: Request,
        _ text: Span<UInt8>,
        _ asker: Router.Asker,
        _ manager: isolated WebSocketManager
    ) {
        switch unsafe router.route(request, text: text, for: asker, now: loop.now) {
        case .elsewhere: return
        case .answered(let known): answer(asker, known)
        case .here: answer(asker, executeHere(request, text, manager))
        }
    }

    /// Carries out a request that is for this shard.
    func executeHere(_ request: Request, _ text: Span<UInt8>, _ manager: isolated WebSocketManager) -> CommandReply {
        switch request.command {
        case .makeToken(let user, let seconds, let threads, let jobs):
            let token = gatekeeper.makeToken(user: user, seconds: seconds, threads: threads, jobs: jobs)
            guard let token else { return .failed(.cannotSign) }
            do throws(TokenProblem) {
                _ = try gatekeeper.claims(of: token)
                return .token(token)
            } catch {
                return .tokenRefused(error)
            }
        case .checkToken(let token):
            do throws(TokenProblem) {
                return .claims(try gatekeeper.claims(of: token))
            } catch {
                return .tokenRefused(error)
            }
        case .statistics(let byUser): return .shard(statistics(byUser: byUser, manager))
        case .fromClient(let post): return shard.receive(post, text: text, on: manager)
        default: return shard.execute(request, text: text, on: manager)
        }
    }

    /// Passes an answer on to the asker that waited for it.
    func answer(_ asker: Router.Asker, _ reply: CommandReply) {
        switch asker {
        case .connection(let connection, let number, let call, let since):
            if case .publish = call {
                tally.counters.observe(.publish, Clock.monotonicNanoseconds() - since)
                if case .failed = reply { tally.counters[.publishesRefused] += 1 }
            }
            door.respond(connection, number: number, APIAnswer.response(to: call, reply))
        case .client(let connection, let number, let address):
            // Whoever guesses sessions has a rate, as whoever guesses tokens.
            if reply == .failed(.unknownConnection) { gatekeeper.countGuess(from: address) }
            door.respond(connection, number: number, APIAnswer.response(toPost: reply).readableByPages)
        case .batch(let batch, let lines):
            if case .batch(let replies) = reply, replies.count == lines.count {
                for (line, reply) in zip(lines, replies) { answer(batch, line, reply) }
            } else {
                for line in lines { answer(batch, line, reply) }
            }
            finish(batch)
        }
    }

    // MARK: Batches

    private func batchBegan(_ connection: HTTPConnection, _ request: HTTPRequest, _ number: Int) {
        do throws(HTTPProblem) {
            try authorize(connection, request)
            guard case .batch = try APICall.parse(request) else { throw .notFound }
        } catch {
            door.respond(connection, number: number, error.response)
            return
        }
        connection.batch = Batch(connection: connection)
        connection.exchange.beginStream(HTTPResponse(200, .lines))
    }

    private func batchLine(_ connection: HTTPConnection, _ range: Range<Int>, _ manager: isolated WebSocketManager) {
        guard let batch = connection.batch, !range.isEmpty else { return }
        let input = connection.exchange.input
        let text = input.span.extracting(range)
        let number = batch.begin()
        let publish: Publish
        do throws(HTTPProblem) {
            publish = try Publish(line: text, unixMilliseconds: Clock.unixMilliseconds())
        } catch {
            batch.answer(number, error)
            return
        }
        tally.counters[.publishes] += 1
        publish.withText(of: text) { self.publish(batch, line: number, publish.request, $0, manager) }
    }

    private func publish(
        _ batch: Batch,
        line: Int,
        _ request: Request,
        _ text: Span<UInt8>,
        _ manager: isolated WebSocketManager
    ) {
        switch router.place(of: request.command) {
        case .here: answer(batch, line, executeHere(request, text, manager))
        case .answered(let reply): answer(batch, line, reply)
        case .shard(let owner):
            if batch.add(request, text: text, line: line, to: owner), let parcel = batch.takeParcel(for: owner) {
                send(parcel, of: batch, to: owner)
            }
        case .switchboard:
            // A publish to several shards must not overtake earlier publishes to one of them.
            sendParcels(of: batch)
            carryOut(request, text, .batch(batch, lines: [line]), manager)
        }
    }

    private func sendParcels(of batch: Batch) {
        for (owner, parcel) in batch.takeParcels() { send(parcel, of: batch, to: owner) }
    }

    private func send(_ parcel: Batch.Parcel, of batch: Batch, to owner: Int) {
        if case .answered(let reply) = unsafe router.send(parcel, of: batch, to: owner, now: loop.now) {
            for line in parcel.lines { answer(batch, line, reply) }
        }
    }

    private func answer(_ batch: Batch, _ line: Int, _ reply: CommandReply) {
        if case .failed = reply { tally.counters[.publishesRefused] += 1 }
        batch.answer(line, reply)
    }

    private func batchLineTooLong(_ connection: HTTPConnection) {
        guard let batch = connection.batch else { return }
        batch.answer(batch.begin(), .bodyTooLarge(limit: Int(contract.api.maxBodyBytes)))
    }

    private func batchEnded(_ connection: HTTPConnection) {
        guard let batch = connection.batch else { return }
        sendParcels(of: batch)
        batch.bodyEnded()
        finish(batch)
    }

    /// Sends the known answers, and ends the whole answer after the last one.
    private func finish(_ batch: Batch) {
        guard batch.connection.descriptor >= 0, batch.connection.batch === batch else { return }
        if batch.isOver {
            batch.connection.exchange.endStream()
            batch.connection.batch = nil
        } else if batch.isCutShort {
            batch.connection.exchange.cutStream()
            batch.connection.batch = nil
        }
        door.markDirty(batch.connection)
    }
}

extension Command {
    fileprivate var isAboutTokens: Bool {
        switch self {
        case .makeToken, .checkToken: true
        default: false
        }
    }
}
