// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

/// Decides where a command is carried out: here, by another shard, by all shards, or by none.
///
/// Only the router knows shard numbers.
final class Router {
    /// What waits for an answer from elsewhere.
    enum Asker {
        case connection(HTTPConnection, number: Int, call: APICall, since: UInt64)
        /// A client that reads server-sent events, and has posted something.
        ///
        /// `address` is the number of where it comes from; 0: nobody knows.
        case client(HTTPConnection, number: Int, address: UInt64)
        /// Lines of a batch, whose answers come in one list, or as one answer for all.
        case batch(Batch, lines: [Int])
    }

    enum Route: Equatable {
        case here
        /// The request was sent, and its reply will come later.
        case elsewhere
        /// The answer is known already.
        case answered(CommandReply)
    }

    private struct Waiting {
        let asker: Asker
        let since: UInt64
        /// Whether the request comes back to this shard, so that later requests must not overtake it.
        let isDetour: Bool
        /// The frame that was sent, in case the supervisor is lost.
        let frame: [UInt8]
    }

    /// How long a request may wait for an answer.
    ///
    /// This is longer than the supervisor lets a shard take, so it only matters when the supervisor hangs.
    private static let patience: UInt64 = 10_000_000_000
    /// How many requests may wait for other shards.
    private static let mostWaiting = 100_000

    private let shard: Int
    private let map: ShardMap
    private let link: Link
    private let tally: Tally
    private var states: [ShardState]
    private var waiting: [UInt64: Waiting] = [:]
    /// When the requests that wait are given up, oldest first; those that were answered are skipped.
    private var deadlines: [(correlation: UInt64, deadline: UInt64)] = []
    private var nextCorrelation: UInt64
    /// How many requests are under way that the switchboard sends back to this shard.
    private var detours = 0
    /// How many bytes the requests that wait have.
    private var waitingBytes = 0
    private let bound: Int

    /// Makes a router; `bound` is how many bytes of requests may wait for answers.
    ///
    /// Request numbers contain the generation, so that they differ from those of previous workers, whose answers may
    /// still arrive.
    init(shard: Int, generation: UInt32, map: ShardMap, link: Link, bound: Int, tally: Tally) {
        self.bound = bound
        nextCorrelation = UInt64(generation) << 40
        self.shard = shard
        self.map = map
        self.link = link
        self.tally = tally
        states = Array(repeating: .serving, count: map.shardCount)
    }

    /// Whether another worker has the shard now, so that everything goes through the switchboard.
    var isRetired = false

    var isAlone: Bool { map.shardCount == 1 && !isRetired }

    /// Notes the states of the shards that the supervisor sent.
    func update(_ states: ShardStates) {
        if states.states.count == map.shardCount { self.states = states.states }
    }

    /// Returns the shard that a user belongs to, and whether it serves now.
    func owner(ofUser user: String) -> (shard: Int, isServing: Bool) {
        let owner = map.shard(ofUser: user)
        return (owner, (owner == shard && !isRetired) || states[owner].takesRequests)
    }

    func isMine(_ destination: UInt16) -> Bool { Int(destination) == shard && !isRetired }

    // MARK: Asking

    /// Sends a request on, or says that this shard must carry it out.
    func route(_ request: Request, text: Span<UInt8>, for asker: Asker, now: UInt64) -> Route {
        switch place(of: request.command) {
        case .here: return .here
        case .answered(let reply): return .answered(reply)
        case .shard(let owner): return ask(request, text, of: UInt16(owner), for: asker, now: now)
        case .switchboard(let address): return ask(request, text, of: address, for: asker, now: now)
        }
    }

    /// The place where a command is carried out now.
    enum Place {
        case here
        case shard(Int)
        /// The switchboard knows the shards.
        case switchboard(UInt16)
        case answered(CommandReply)
    }

    func place(of command: Command) -> Place {
        switch command.destination(in: map) {
        case .nobody: return .answered(command.replyOfNobody)
        case .anyShard: return .here
        case .shard(shard) where !isRetired:
            // A later request must not overtake one that is on its way back here; and the switchboard must know of a
            // binding before the binding is answered.
            if isAlone || (detours == 0 && !command.isBinding) { return .here }
            return .shard(shard)
        case .shard(let owner):
            guard states[owner].takesRequests else { return .answered(.failed(.shardUnavailable(partial: nil))) }
            return .shard(owner)
        case .room: return isAlone ? .here : .switchboard(PeerAddress.room)
        case .everyShard:
            // The supervisor completes statistics; a lone shard can do everything else by itself.
            if case .statistics = command { return .switchboard(PeerAddress.everyShard) }
            return isAlone ? .here : .switchboard(PeerAddress.everyShard)
        }
    }

    /// Sends a parcel of a batch to the shard that owns its addresses.
    func send(_ parcel: Batch.Parcel, of batch: Batch, to owner: Int, now: UInt64) -> Route {
        ask(
            Request(.batch),
            parcel.bytes.span,
            of: UInt16(owner),
            for: .batch(batch, lines: parcel.lines),
            now: now
        )
    }

    private func ask(
        _ request: Request,
        _ text: Span<UInt8>,
        of destination: UInt16,
        for asker: Asker,
        now: UInt64
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

    /// Sends the requests that the previous supervisor has not answered to the new one, in their original order.
    ///
    /// A shard that has already carried out a request answers it from its record (``ShardRecord``).
    func askAgain() {
        for (_, request) in waiting.sorted(by: { $0.key < $1.key }) { link.request(request.frame) }
    }

    // MARK: Answers

    /// Removes the requests that have waited too long, each of which must be answered (called with every beat).
    func expire(now: UInt64) -> [Asker] {
        let due = deadlines.prefix { $0.deadline <= now || waiting[$0.correlation] == nil }
        let late = due.compactMap { remove($0.correlation)?.asker }
        deadlines.removeFirst(due.count)
        tally.counters[.requestsTimedOut] += late.count
        return late
    }

    /// Returns who waits for a reply that has arrived; nil if nobody does.
    func asker(of correlation: UInt64, now: UInt64) -> Asker? {
        guard let found = remove(correlation) else { return nil }
        tally.counters.observe(.hop, now > found.since ? now - found.since : 0)
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
