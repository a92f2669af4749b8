// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// Routes frames between workers: it reads the fixed head of a frame, copies its payload once, and remembers who waits.
final class Switchboard {
    /// How long a request may wait for a shard.
    static let patience: UInt64 = 5_000_000_000
    private static let mostPending = 1_000_000
    /// How many answers to publishes for several shards are remembered by their keys.
    private static let mostAnswers = 262_144
    /// How long keys are remembered.
    static let memory: UInt64 = 300_000_000_000

    let roster: Roster
    /// The shards where rooms have members.
    var interest = InterestTable()
    let holdBytes: Int
    let startedAt: UInt64
    var pending: PendingRequests
    var ownAskers: [UInt64: (CommandReply) -> Void] = [:]
    var repeats = RepeatedRequests(capacity: mostAnswers)
    var nextCorrelation: UInt64 = 0
    /// How many requests were refused because a queue was full or a shard was missing.
    var refused = 0
    /// How many requests were routed with an older map, and sent on to the shards where their users are now.
    var rerouted = 0
    var holding: HeldRequests?
    /// Whether a message to a thread without members goes to the user with that id.
    var threadReachesUser = false
    /// The limits of the configuration that is in force.
    var limits: [SupervisorStatistics.Limit] = []
    let descriptors: DescriptorCount
    /// Until when a shard may know the answer to a publish that would not go to it now.
    ///
    /// This happens if the number of shards was different, or a previous supervisor remembered the answer.
    var isRemindedUntil: UInt64 = 0

    init(roster: Roster, holdBytes: Int, startedAt: UInt64, descriptorLimit: Int) {
        descriptors = DescriptorCount(limit: descriptorLimit)
        self.roster = roster
        self.holdBytes = holdBytes
        self.startedAt = startedAt
        pending = PendingRequests(capacity: Self.mostPending, frameCapacity: holdBytes)
    }

    var workers: [WorkerProcess] { roster.workers }
    var map: ShardMap { roster.map }

    var nextDeadline: UInt64? { [pending.nextDeadline, holding?.nextDeadline].compactMap { $0 }.min() }

    // MARK: Requests

    /// Handles a worker's request for another shard, or for several.
    func command(_ frame: PeerStream.Frame, from worker: WorkerProcess, now: UInt64) {
        guard let input = worker.process?.stream.input else { return }
        var header = frame.header
        header.source = UInt16(worker.shard)
        if holding != nil { return hold(header, input, frame.payload, now: now) }
        route(header, input, frame.payload, now: now)
    }

    func route(_ header: PeerHeader, _ input: [UInt8], _ payload: Range<Int>, now: UInt64) {
        let key = PendingRequests.Key(source: header.source, correlation: header.correlation)
        // None of our workers uses a number twice while it waits.
        if pending.mode(of: key) != nil { return }
        if header.mapGeneration == map.generation, workers.indices.contains(Int(header.destination)) {
            return pass(header, input, payload, to: workers[Int(header.destination)], now: now)
        }
        guard let (request, textStart) = try? CommandCoding.decode(input, in: payload) else {
            answer(.init(key: key, reply: .failed(.malformed)))
            return
        }
        if header.destination < PeerAddress.room {
            return reroute(request, header, input, payload, textStart: textStart, now: now)
        }
        let text = input.span.extracting(textStart..<payload.upperBound)
        spread(request, text: text, key, mapGeneration: header.mapGeneration, now: now)
    }

    /// Passes a request on to one shard, without reading it.
    func pass(
        _ header: PeerHeader,
        _ input: [UInt8],
        _ payload: Range<Int>,
        to worker: WorkerProcess,
        now: UInt64
    ) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(PeerHeader.length + payload.count)
        header.write(to: &bytes)
        bytes.append(copying: input.span.extracting(payload))
        let key = PendingRequests.Key(source: header.source, correlation: header.correlation)
        send(key, to: [worker], mode: .single, now: now, bytes)
    }

    /// Sends a request of the supervisor itself, for an operator; `onReply` always gets an answer.
    func ask(_ request: Request, text: Span<UInt8>, now: UInt64, _ onReply: @escaping (CommandReply) -> Void) {
        nextCorrelation += 1
        let key = PendingRequests.Key(source: PeerAddress.supervisor, correlation: nextCorrelation)
        if holding != nil {
            ownAskers[nextCorrelation] = onReply
            let payload = CommandCoding.encode(request)
            let header = PeerHeader(
                kind: .command,
                source: key.source,
                destination: 0,
                correlation: key.correlation,
                payloadLength: payload.count + text.count
            )
            var bytes = payload
            bytes.append(copying: text)
            return hold(header, bytes, 0..<bytes.count, now: now)
        }
        switch request.command.destination(in: map) {
        case .nobody: return onReply(request.command.replyOfNobody)
        case .shard(let shard):
            ownAskers[nextCorrelation] = onReply
            send(request, text: text, key, to: [workers[shard]], mode: .single, now: now)
        case .anyShard:
            ownAskers[nextCorrelation] = onReply
            let serving = workers.first(where: \.isServing).map { [$0] } ?? []
            send(request, text: text, key, to: serving, mode: .single, now: now)
        case .everyShard, .room:
            ownAskers[nextCorrelation] = onReply
            spread(request, text: text, key, mapGeneration: map.generation, now: now)
        }
    }

    /// Sends a request to every shard that it concerns.
    func spread(
        _ request: Request,
        text: Span<UInt8>,
        _ key: PendingRequests.Key,
        mapGeneration: UInt32,
        now: UInt64
    ) {
        switch request.command {
        case .statistics:
            let serving = workers.filter(\.isServing)
            if serving.isEmpty {
                answer(.init(key: key, reply: .node(NodeStatistics(shards: [], uptimeNanoseconds: 0))))
            } else {
                send(request, text: text, key, to: serving, mode: .statistics, now: now)
            }
        case .sendToRoom(let room):
            if isRepeated(request, key, now) { return }
            let shards = shards(of: room, request, now)
            if shards.isEmpty { return sendToEmpty(room, request, text: text, key, now: now) }
            send(request, text: text, key, to: shards.map { workers[$0] }, mode: .receipts, now: now)
        default:
            if isRepeated(request, key, now) { return }
            send(request, text: text, key, to: workers, mode: .receipts, now: now)
        }
    }

    /// Returns true if a request with this key was answered, or is under way; then this one gets that answer.
    private func isRepeated(_ request: Request, _ asker: PendingRequests.Key, _ now: UInt64) -> Bool {
        guard let key = request.key else { return false }
        switch repeats.begin(key, asker, now: now) {
        case .first: return false
        case .waits: return true
        case .answered(let reply):
            answer(.init(key: asker, reply: reply))
            return true
        }
    }

    func send(
        _ request: Request,
        text: Span<UInt8>,
        _ key: PendingRequests.Key,
        to targets: [WorkerProcess],
        mode: PendingRequests.Mode,
        now: UInt64
    ) {
        let payload = CommandCoding.encode(request)
        let header = PeerHeader(
            kind: .command,
            source: key.source,
            destination: PeerAddress.everyShard,
            correlation: key.correlation,
            mapGeneration: map.generation,
            payloadLength: payload.count + text.count
        )
        var bytes: [UInt8] = []
        bytes.reserveCapacity(PeerHeader.length + payload.count + text.count)
        header.write(to: &bytes)
        bytes += payload
        bytes.append(copying: text)
        send(key, to: targets, mode: mode, now: now, bytes)
    }

    func send(
        _ key: PendingRequests.Key,
        to targets: [WorkerProcess],
        mode: PendingRequests.Mode,
        now: UInt64,
        _ frame: [UInt8]
    ) {
        // All or none: a publish that cannot reach one shard is not begun at the others, so that it can be repeated.
        let hasRoom = targets.allSatisfy {
            $0.state.takesRequests && ($0.process?.stream.queuedBytes ?? 0) <= holdBytes
                && !pending.isFull(for: $0.shard)
        }
        guard hasRoom, !targets.isEmpty, !pending.isFull else {
            refused += 1
            answer(.init(key: key, reply: .failed(.shardUnavailable(partial: nil))))
            return
        }
        pending.add(key, to: targets.map(\.shard), mode: mode, deadline: now + Self.patience, frame: frame)
        // A shard that is recovering does not get the request now; its next worker gets it by ``resend(to:)``.
        for target in targets where target.isServing && target.custody.state != .frozen {
            target.process?.stream.append(frame)
        }
    }

    /// Sends a new worker, which has taken over, the requests that the previous one has not answered.
    func resend(to worker: WorkerProcess) {
        for frame in pending.frames(for: worker.shard) { worker.process?.stream.append(frame) }
    }

    // MARK: Replies

    /// Handles a shard's answer.
    func reply(_ frame: PeerStream.Frame, from worker: WorkerProcess) {
        guard let input = worker.process?.stream.input else { return }
        let key = PendingRequests.Key(source: frame.header.destination, correlation: frame.header.correlation)
        switch pending.mode(of: key) {
        case nil: return  // this is too late: the asker was told that the shard did not answer
        case .single where key.source != PeerAddress.supervisor:
            guard pending.passed(key, from: worker.shard) else { return }
            var header = frame.header
            header.source = UInt16(worker.shard)
            guard let asking = self.asker(key), let asker = asking.process else { return }
            if !asking.knowsSessions, let older = CommandCoding.olderForm(input, in: frame.payload) {
                header.payloadLength = older.count
                asker.stream.append(header, older)
            } else {
                asker.stream.append(header, copying: frame.payload, of: input)
            }
        case .single:
            let reply = (try? CommandCoding.decodeReply(input, in: frame.payload)) ?? .failed(.malformed)
            if pending.passed(key, from: worker.shard) { answer(.init(key: key, reply: reply)) }
        case .receipts, .statistics:
            let reply = (try? CommandCoding.decodeReply(input, in: frame.payload)) ?? .failed(.malformed)
            if case .shard(var statistics) = reply {
                // Numbers that were shown must not decrease, even if the worker dies before its next beat.
                statistics.connectionsByUser = nil
                worker.process?.reported = statistics
            }
            if let answer = pending.gather(key, from: worker.shard, reply) { self.answer(answer) }
        }
    }

    /// Forgets the rooms of a shard whose new worker serves, which reports its rooms from now on.
    ///
    /// Until then the rooms of the dead worker remain, so that publishes to them are answered like those to its users.
    func workerServes(_ shard: Int) { interest.forget(shard: shard) }

    /// Answers the requests that wait for a shard that is gone.
    ///
    /// Requests of its own worker to other shards go on, although nobody waits: a request with the same key must find
    /// them done.
    func shardFailed(_ shard: Int) {
        for answer in pending.shardFailed(shard) { self.answer(answer) }
    }

    /// Answers the requests that have waited too long.
    func expire(now: UInt64) {
        for answer in pending.expire(now: now) { self.answer(answer) }
        for key in holding?.expire(now: now) ?? [] {
            answer(.init(key: key, reply: .failed(.shardUnavailable(partial: nil))))
        }
    }

    /// Passes an answer to the asker, and to those who have asked the same in the meantime.
    func answer(_ answer: PendingRequests.Answer) {
        deliver(answer)
        for asker in repeats.end(answer.key, answer.reply, now: Clock.monotonicNanoseconds()) {
            deliver(.init(key: asker, reply: answer.reply))
        }
    }

    private func deliver(_ answer: PendingRequests.Answer) {
        var reply = answer.reply
        // A worker of a previous program does not know what was added since.
        let isKnown =
            answer.key.source == PeerAddress.supervisor || asker(answer.key)?.process?.isOfThisProgram == true
        if case .node(let node) = reply {
            reply = .node(completed(node, supervisor: isKnown ? supervisorStatistics : nil))
        } else if !isKnown, asker(answer.key)?.knowsSessions == false {
            reply = CommandCoding.olderForm(reply)
        }
        if answer.key.source == PeerAddress.supervisor {
            ownAskers.removeValue(forKey: answer.key.correlation)?(reply)
            return
        }
        var payload = CommandCoding.encode(reply)
        if payload.count > PeerHeader.largestPayload { payload = CommandCoding.encode(.failed(.overloaded)) }
        let header = PeerHeader(
            kind: .reply,
            source: PeerAddress.supervisor,
            destination: answer.key.source,
            correlation: answer.key.correlation,
            payloadLength: payload.count
        )
        asker(answer.key)?.process?.stream.append(header, payload)
    }

    /// Returns the worker that asked, if it is still there: its request numbers begin with its generation.
    private func asker(_ key: PendingRequests.Key) -> WorkerProcess? {
        roster.asker(shard: Int(key.source), generation: UInt32(truncatingIfNeeded: key.correlation >> 40))
    }

    /// Completes statistics with those of the shards that cannot answer now.
    private func completed(_ node: NodeStatistics, supervisor: SupervisorStatistics?) -> NodeStatistics {
        let wantsUsers = node.shards.contains { $0.connectionsByUser != nil }
        let shards = workers.map { worker in
            // What a worker reported before it died is already in the ledger.
            let fresh = node.shards.first { $0.shard == worker.shard && $0.pid == worker.pid }
            var statistics = worker.statistics(fresh: fresh)
            // For a shard that does not answer, this is known only if it has no connections.
            if wantsUsers, statistics.connectionsByUser == nil, statistics.connections == 0 {
                statistics.connectionsByUser = [:]
            }
            return statistics
        }
        let uptime = Clock.monotonicNanoseconds() - startedAt
        // A lone shard does not report its rooms; if there are several shards, each room is counted once.
        let isAlone = workers.count == 1
        var completed = NodeStatistics(
            shards: shards,
            uptimeNanoseconds: uptime,
            threads: isAlone ? shards[0].threads : interest.count(of: .thread),
            jobs: isAlone ? shards[0].jobs : interest.count(of: .job)
        )
        completed.supervisor = supervisor
        completed.switchboardRefused = refused
        completed.switchboardRepeated = repeats.repeated
        completed.switchboardRerouted = rerouted
        return completed
    }
}
