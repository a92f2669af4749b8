internal import MartletCore
internal import MartletWire

/// Decides where a command is carried out: here, by another shard, by all, or by nobody.
///
/// Only it knows shard numbers.
final class Router {
    /// Who waits for an answer from elsewhere.
    struct Asker {
        let peer: HTTPPeer
        let number: Int
        let call: APICall
    }

    enum Route: Equatable {
        case here
        /// It was sent; the answer comes by ``answered(_:)``.
        case elsewhere
        /// The answer is known already.
        case answered(CommandReply)
    }

    /// How long a request may wait for an answer; longer than the supervisor lets a shard take, so that this is for a
    /// supervisor that hangs.
    private static let patience: UInt64 = 10_000_000_000
    /// Requests that may wait for other shards.
    private static let mostWaiting = 100_000

    private let shard: Int
    private let map: ShardMap
    private let link: Link
    private var states: [ShardState]
    private var waiting: [UInt64: Asker] = [:]
    /// When the requests that wait are given up, oldest first; those that were answered are passed over.
    private var deadlines: [(correlation: UInt64, deadline: UInt64)] = []
    private var nextCorrelation: UInt64

    /// The generation numbers this worker's requests apart from those of the workers before it, whose answers may still
    /// come.
    init(shard: Int, generation: UInt32, map: ShardMap, link: Link) {
        nextCorrelation = UInt64(generation) << 40
        self.shard = shard
        self.map = map
        self.link = link
        states = Array(repeating: .serving, count: map.shardCount)
    }

    /// The supervisor said how the shards are.
    func update(_ states: ShardStates) {
        if states.states.count == map.shardCount { self.states = states.states }
    }

    /// The shard that a client belongs to, and whether it serves now.
    func owner(ofUser user: String) -> (shard: Int, isServing: Bool) {
        let owner = map.shard(ofUser: user)
        return (owner, owner == shard || states[owner] == .serving)
    }

    func isMine(_ destination: UInt16) -> Bool { Int(destination) == shard }

    /// Sends a command on its way, or says that this shard must carry it out.
    func route(_ command: Command, text: Span<UInt8>, for asker: Asker, now: UInt64) -> Route {
        switch command.destination(in: map) {
        case .nobody: return .answered(command.replyOfNobody)
        case .shard(shard): return .here
        case .shard(let owner):
            guard states[owner] == .serving else { return .answered(.failed(.shardUnavailable(partial: nil))) }
            return ask(command, text, UInt16(owner), asker, now)
        case .everyShard:
            // Statistics are completed by the supervisor; everything else a lone shard can do by itself.
            if case .statistics = command { return ask(command, text, PeerAddress.everyShard, asker, now) }
            if map.shardCount == 1 { return .here }
            return ask(command, text, PeerAddress.everyShard, asker, now)
        }
    }

    private func ask(
        _ command: Command,
        _ text: Span<UInt8>,
        _ destination: UInt16,
        _ asker: Asker,
        _ now: UInt64
    ) -> Route {
        guard !link.isFull, waiting.count < Self.mostWaiting else { return .answered(.failed(.overloaded)) }
        nextCorrelation += 1
        waiting[nextCorrelation] = asker
        deadlines.append((nextCorrelation, now + Self.patience))
        link.request(
            CommandCoding.encode(command),
            text: text,
            to: destination,
            correlation: nextCorrelation,
            mapGeneration: map.generation
        )
        return .elsewhere
    }

    /// Those who have waited too long; each must be answered (called with every beat).
    func expire(now: UInt64) -> [Asker] {
        let due = deadlines.prefix { $0.deadline <= now || waiting[$0.correlation] == nil }
        let late = due.compactMap { waiting.removeValue(forKey: $0.correlation) }
        deadlines.removeFirst(due.count)
        return late
    }

    /// The asker of a reply that came; nil where nobody waits for it.
    func asker(of correlation: UInt64) -> Asker? {
        waiting.removeValue(forKey: correlation)
    }
}
