internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// Routes words between workers: reads the fixed head of a frame, copies its payload once, and remembers who waits.
final class Switchboard {
    /// How long a request may wait for a shard.
    private static let patience: UInt64 = 5_000_000_000
    private static let mostPending = 1_000_000

    private let workers: [WorkerProcess]
    private let map: ShardMap
    private let holdBytes: Int
    private let startedAt: UInt64
    private var pending = PendingRequests(capacity: mostPending)
    private var ownAskers: [UInt64: (CommandReply) -> Void] = [:]
    private var nextCorrelation: UInt64 = 0
    /// Requests that a full queue or a missing shard refused.
    private(set) var refused = 0

    init(workers: [WorkerProcess], map: ShardMap, holdBytes: Int, startedAt: UInt64) {
        self.workers = workers
        self.map = map
        self.holdBytes = holdBytes
        self.startedAt = startedAt
    }

    var nextDeadline: UInt64? { pending.nextDeadline }

    // MARK: Requests

    /// A worker asks something of another shard, or of all.
    func command(_ frame: PeerStream.Frame, from worker: WorkerProcess, now: UInt64) {
        guard let input = worker.stream?.input else { return }
        var header = frame.header
        header.source = UInt16(worker.shard)
        let key = PendingRequests.Key(source: header.source, correlation: header.correlation)
        let decoded =
            header.destination == PeerAddress.everyShard
            ? try? CommandCoding.decode(input, in: frame.payload).0 : nil
        send(key, to: header.destination, isStatistics: decoded?.isStatistics ?? false, now: now) { target in
            target.append(header, copying: frame.payload, of: input)
        }
    }

    /// The supervisor itself asks, for an operator; the answer comes by `onReply`, always.
    func ask(_ command: Command, text: Span<UInt8>, now: UInt64, _ onReply: @escaping (CommandReply) -> Void) {
        let destination: UInt16
        switch command.destination(in: map) {
        case .nobody:
            onReply(command.replyOfNobody)
            return
        case .shard(let shard): destination = UInt16(shard)
        case .everyShard: destination = PeerAddress.everyShard
        }
        nextCorrelation += 1
        let payload = CommandCoding.encode(command)
        let header = PeerHeader(
            kind: .command,
            source: PeerAddress.supervisor,
            destination: destination,
            correlation: nextCorrelation,
            mapGeneration: map.generation,
            payloadLength: payload.count + text.count
        )
        ownAskers[nextCorrelation] = onReply
        let bytes = Array(copying: text)
        let key = PendingRequests.Key(source: PeerAddress.supervisor, correlation: nextCorrelation)
        send(key, to: destination, isStatistics: command.isStatistics, now: now) { target in
            target.append(header, payload, text: bytes.span)
        }
    }

    private func send(
        _ key: PendingRequests.Key,
        to destination: UInt16,
        isStatistics: Bool,
        now: UInt64,
        _ write: (inout PeerStream) -> Void
    ) {
        let targets: [WorkerProcess]
        if destination == PeerAddress.everyShard {
            targets = isStatistics ? workers.filter(\.isServing) : workers
        } else {
            targets = workers.indices.contains(Int(destination)) ? [workers[Int(destination)]] : []
        }
        if targets.isEmpty, isStatistics {
            answer(.init(key: key, reply: .node(NodeStatistics(shards: [], uptimeNanoseconds: 0))))
            return
        }
        // All or nobody: a publish that cannot reach one shard is not begun at the others, so that it can be repeated.
        let hasRoom = targets.allSatisfy { $0.isServing && ($0.stream?.queuedBytes ?? .max) <= holdBytes }
        guard hasRoom, !targets.isEmpty, !pending.isFull else {
            refused += 1
            answer(.init(key: key, reply: .failed(.shardUnavailable(partial: nil))))
            return
        }
        let mode: PendingRequests.Mode =
            isStatistics ? .statistics : destination == PeerAddress.everyShard ? .receipts : .single
        pending.add(key, to: targets.map(\.shard), mode: mode, deadline: now + Self.patience)
        for target in targets {
            if var stream = target.takeStream() {
                write(&stream)
                target.stream = stream
            }
        }
    }

    // MARK: Replies

    /// A shard has answered.
    func reply(_ frame: PeerStream.Frame, from worker: WorkerProcess) {
        guard let input = worker.stream?.input else { return }
        let key = PendingRequests.Key(source: frame.header.destination, correlation: frame.header.correlation)
        switch pending.mode(of: key) {
        case nil: return  // too late: the asker was told that the shard did not answer
        case .single where key.source != PeerAddress.supervisor:
            guard pending.passed(key, from: worker.shard) else { return }
            var header = frame.header
            header.source = UInt16(worker.shard)
            if let asker = asker(key.source), var target = asker.takeStream() {
                target.append(header, copying: frame.payload, of: input)
                asker.stream = target
            }
        case .single:
            let reply = (try? CommandCoding.decodeReply(input, in: frame.payload)) ?? .failed(.malformed)
            if pending.passed(key, from: worker.shard) { answer(.init(key: key, reply: reply)) }
        case .receipts, .statistics:
            let reply = (try? CommandCoding.decodeReply(input, in: frame.payload)) ?? .failed(.malformed)
            if case .shard(var statistics) = reply {
                // What was shown must not go back, even if the worker dies before its next beat.
                statistics.connectionsByUser = nil
                worker.reported = statistics
            }
            if let answer = pending.gather(key, from: worker.shard, reply) { self.answer(answer) }
        }
    }

    /// A worker has ended: whoever waits for it is told, and nobody waits for it.
    func workerEnded(_ shard: Int) {
        pending.requesterFailed(UInt16(shard))
        for answer in pending.shardFailed(shard) { self.answer(answer) }
    }

    /// Tells those who waited too long.
    func expire(now: UInt64) {
        for answer in pending.expire(now: now) { self.answer(answer) }
    }

    private func answer(_ answer: PendingRequests.Answer) {
        var reply = answer.reply
        if case .node(let node) = reply { reply = .node(completed(node)) }
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
        if let asker = asker(answer.key.source) { asker.stream?.append(header, payload) }
    }

    private func asker(_ source: UInt16) -> WorkerProcess? {
        workers.indices.contains(Int(source)) ? workers[Int(source)] : nil
    }

    /// The statistics of every shard, also of those that cannot answer now.
    private func completed(_ node: NodeStatistics) -> NodeStatistics {
        let wantsUsers = node.shards.contains { $0.connectionsByUser != nil }
        let shards = workers.map { worker in
            let fresh = node.shards.first { $0.shard == worker.shard }
            var statistics = worker.statistics(fresh: fresh)
            if wantsUsers, statistics.connectionsByUser == nil { statistics.connectionsByUser = [:] }
            return statistics
        }
        return NodeStatistics(shards: shards, uptimeNanoseconds: Clock.monotonicNanoseconds() - startedAt)
    }
}

extension Command {
    fileprivate var isStatistics: Bool {
        if case .statistics = self { return true }
        return false
    }
}

extension [UInt8] {
    fileprivate init(copying bytes: Span<UInt8>) {
        self.init()
        append(copying: bytes)
    }
}

extension WorkerProcess {
    /// Takes the stream out, so that it is changed in place; the caller puts it back.
    fileprivate func takeStream() -> PeerStream? {
        defer { stream = nil }
        return stream
    }
}
