internal import MartletCore
internal import MartletWire

/// Decides where a command is carried out: here, by another shard, by all, or by nobody.
///
/// Only it knows shard numbers.
final class Router {
    /// Who waits for an answer from elsewhere.
    enum Asker {
        case connection(HTTPConnection, number: Int, call: APICall, since: UInt64)
        /// Lines of a batch, whose answers come in one list, or as one.
        case batch(Batch, lines: [Int])
    }

    enum Route: Equatable {
        case here
        /// It was sent; the answer comes by ``answered(_:)``.
        case elsewhere
        /// The answer is known already.
        case answered(CommandReply)
    }

    private struct Waiting {
        let asker: Asker
        let since: UInt64
        /// It comes back to this shard, so what is asked later must not overtake it.
        let isDetour: Bool
        /// What was sent, for the case that the supervisor is lost.
        let frame: [UInt8]
    }

    /// How long a request may wait for an answer; longer than the supervisor lets a shard take, so that this is for a
    /// supervisor that hangs.
    private static let patience: UInt64 = 10_000_000_000
    /// Requests that may wait for other shards.
    private static let mostWaiting = 100_000

    private let shard: Int
    private let map: ShardMap
    private let link: Link
    private let tally: Tally
    private var states: [ShardState]
    private var waiting: [UInt64: Waiting] = [:]
    /// When the requests that wait are given up, oldest first; those that were answered are passed over.
    private var deadlines: [(correlation: UInt64, deadline: UInt64)] = []
    private var nextCorrelation: UInt64
    /// Requests under way that the switchboard brings back to this shard.
    private var detours = 0
    /// Bytes of all requests that wait.
    private var waitingBytes = 0
    private let bound: Int

    /// The generation numbers this worker's requests apart from those of the workers before it, whose answers may still
    /// come.
    ///
    /// `bound`: bytes of requests that may wait for answers.
    init(shard: Int, generation: UInt32, map: ShardMap, link: Link, bound: Int, tally: Tally) {
        self.bound = bound
        nextCorrelation = UInt64(generation) << 40
        self.shard = shard
        self.map = map
        self.link = link
        self.tally = tally
        states = Array(repeating: .serving, count: map.shardCount)
    }

    /// The shard is another worker's now: everything goes by the switchboard.
    var isRetired = false

    var isAlone: Bool { map.shardCount == 1 && !isRetired }

    /// The supervisor said how the shards are.
    func update(_ states: ShardStates) {
        if states.states.count == map.shardCount { self.states = states.states }
    }

    /// The shard that a client belongs to, and whether it serves now.
    func owner(ofUser user: String) -> (shard: Int, isServing: Bool) {
        let owner = map.shard(ofUser: user)
        return (owner, (owner == shard && !isRetired) || states[owner].takesRequests)
    }

    func isMine(_ destination: UInt16) -> Bool { Int(destination) == shard && !isRetired }

    // MARK: Asking

    /// Sends a request on its way, or says that this shard must carry it out.
    func route(_ request: Request, text: Span<UInt8>, for asker: Asker, now: UInt64) -> Route {
        switch place(of: request.command) {
        case .here: return .here
        case .answered(let reply): return .answered(reply)
        case .shard(let owner): return ask(request, text, UInt16(owner), asker, now)
        case .switchboard(let address): return ask(request, text, address, asker, now)
        }
    }

    /// Where a command is carried out now.
    enum Place {
        case here
        case shard(Int)
        /// The switchboard knows to whom.
        case switchboard(UInt16)
        case answered(CommandReply)
    }

    func place(of command: Command) -> Place {
        switch command.destination(in: map) {
        case .nobody: return .answered(command.replyOfNobody)
        case .anyShard: return .here
        case .shard(shard) where !isRetired:
            // What is asked later must not overtake what is on its way back here; and who is bound to a thread must be
            // known to the switchboard before the binding is answered.
            if isAlone || (detours == 0 && !command.isBinding) { return .here }
            return .shard(shard)
        case .shard(let owner):
            guard states[owner].takesRequests else { return .answered(.failed(.shardUnavailable(partial: nil))) }
            return .shard(owner)
        case .room: return isAlone ? .here : .switchboard(PeerAddress.room)
        case .everyShard:
            // Statistics are completed by the supervisor; everything else a lone shard can do by itself.
            if case .statistics = command { return .switchboard(PeerAddress.everyShard) }
            return isAlone ? .here : .switchboard(PeerAddress.everyShard)
        }
    }

    /// Sends a parcel of a batch to the shard that owns its addresses.
    func send(_ parcel: Batch.Parcel, of batch: Batch, to owner: Int, now: UInt64) -> Route {
        ask(Request(.batch), parcel.bytes.span, UInt16(owner), .batch(batch, lines: parcel.lines), now)
    }

    private func ask(
        _ request: Request,
        _ text: Span<UInt8>,
        _ destination: UInt16,
        _ asker: Asker,
        _ now: UInt64
    ) -> Route {
        guard !link.isFull, waiting.count < Self.mostWaiting, waitingBytes <= bound else {
            return .answered(.failed(.overloaded))
        }
        nextCorrelation += 1
        let isStatistics = if case .statistics = request.command { true } else { false }
        let isDetour = !isStatistics && (destination == UInt16(shard) || destination >= PeerAddress.room)
        if isDetour { detours += 1 }
        let frame = frame(of: request, text, to: destination)
        waiting[nextCorrelation] = Waiting(asker: asker, since: now, isDetour: isDetour, frame: frame)
        waitingBytes += frame.count
        deadlines.append((nextCorrelation, now + Self.patience))
        link.request(frame)
        return .elsewhere
    }

    private func frame(of request: Request, _ text: Span<UInt8>, to destination: UInt16) -> [UInt8] {
        let command = CommandCoding.encode(request)
        let header = PeerHeader(
            kind: .command,
            source: UInt16(shard),
            destination: destination,
            correlation: nextCorrelation,
            mapGeneration: map.generation,
            payloadLength: command.count + text.count
        )
        var frame: [UInt8] = []
        frame.reserveCapacity(PeerHeader.length + command.count + text.count)
        header.write(to: &frame)
        frame += command
        frame.append(copying: text)
        return frame
    }

    /// There is another supervisor: it gets what the one before has not answered, in the order in which it was asked.
    ///
    /// What a shard has done already it answers from its memory (``ShardRecord``).
    func askAgain() {
        for (_, request) in waiting.sorted(by: { $0.key < $1.key }) { link.request(request.frame) }
    }

    // MARK: Answers

    /// Those who have waited too long; each must be answered (called with every beat).
    func expire(now: UInt64) -> [Asker] {
        let due = deadlines.prefix { $0.deadline <= now || waiting[$0.correlation] == nil }
        let late = due.compactMap { remove($0.correlation)?.asker }
        deadlines.removeFirst(due.count)
        tally.counters[.requestsTimedOut] += late.count
        return late
    }

    /// The asker of a reply that came; nil where nobody waits for it.
    func asker(of correlation: UInt64, now: UInt64) -> Asker? {
        guard let found = remove(correlation) else { return nil }
        tally.counters[Timing.hop].observe(now > found.since ? now - found.since : 0)
        return found.asker
    }

    private func remove(_ correlation: UInt64) -> Waiting? {
        guard let found = waiting.removeValue(forKey: correlation) else { return nil }
        if found.isDetour { detours -= 1 }
        waitingBytes -= found.frame.count
        return found
    }
}

extension Command {
    fileprivate var isBinding: Bool {
        switch self {
        case .bind, .unbind: true
        default: false
        }
    }
}
