// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

/// The record of what a shard must not do twice and must not forget, kept in the arena for its successor.
///
/// It has the answers to other processes, the answers to requests with an `Idempotency-Key`, and the bindings of users.
final class ShardRecord {
    private struct Binding: Hashable {
        let user: ExactText
        let thread: ExactText
    }

    private struct Asker: Hashable {
        let source: UInt16
        let correlation: UInt64
    }

    let journal: ArenaJournal
    /// The answers to requests with an `Idempotency-Key`.
    let answers: AnswerRecord
    private let arena: Arena
    private lazy var bindingTable = ArenaTable(.bindings, in: arena)
    private var bindings: [Binding: ArenaTable.Place] = [:]
    /// Answers from the time of the previous worker or supervisor, whose requests may come again.
    private var inherited: [Asker: [UInt8]] = [:]
    /// The replies to the batch that the previous worker was carrying out.
    private var resumed: [CommandReply] = []

    init(arena: Arena) {
        self.arena = arena
        journal = arena.journal
        answers = AnswerRecord(arena: arena)
    }

    // MARK: Bindings

    /// Records a binding for good; false if there is no memory.
    func bind(user: String, thread: String) -> Bool {
        var writer = ByteWriter()
        writer.put(user)
        writer.put(thread)
        guard let place = bindingTable.insert(writer.bytes) else { return false }
        bindings[Binding(user: ExactText(user), thread: ExactText(thread))] = place
        return true
    }

    func unbind(user: String, thread: String) {
        let binding = Binding(user: ExactText(user), thread: ExactText(thread))
        if let place = bindings.removeValue(forKey: binding) { bindingTable.remove(place) }
    }

    // MARK: Answers to other processes

    /// Remembers the answer of the delivery that is under way, for the requester.
    func remember(_ reply: CommandReply, for asker: PeerHeader) {
        let bytes = CommandCoding.encode(reply)
        guard bytes.count <= ArenaJournal.Answered.mostInline else { return }
        remember(.bytes(bytes), for: asker, delivery: journal.begun)
    }

    private func remember(_ reply: ArenaJournal.Answered.Reply, for asker: PeerHeader, delivery: UInt64) {
        let old = journal.remember(
            .init(source: asker.source, correlation: asker.correlation, delivery: delivery, reply: reply)
        )
        if let old { arena.free(old) }
    }

    /// Returns the answer that was given before there was this worker, or this supervisor; nil if there is none.
    func answer(to asker: PeerHeader) -> [UInt8]? {
        inherited.isEmpty ? nil : inherited[Asker(source: asker.source, correlation: asker.correlation)]
    }

    /// Reads all remembered answers, because there is a new supervisor.
    ///
    /// A requester that did not get its answer through the previous one asks again.
    func remindOfAnswers() {
        for answer in journal.answers {
            let asker = Asker(source: answer.source, correlation: answer.correlation)
            switch answer.reply {
            case .bytes(let bytes): inherited[asker] = bytes
            case .chunk(let chunk, _): inherited[asker] = arena.record(chunk)
            }
        }
    }

    /// Forgets the answers from before this worker served, because nobody asks for them again.
    func forgetInherited() { inherited = [:] }

    // MARK: Batches

    /// Begins or continues a batch of another process, and returns the replies to those of its publishes that are done.
    func beginBatch(_ asker: PeerHeader) -> [CommandReply] {
        if let batch = journal.batch {
            if batch.source == asker.source, batch.correlation == asker.correlation { return resumed }
            journal.batch = nil
            arena.free(batch.chunk)
        }
        guard let chunk = arena.allocate(ArenaJournal.batchReceiptBytes) else { return [] }
        let cells = unsafe arena.bytes(of: chunk, count: ArenaJournal.batchReceiptBytes)
        for number in 0..<BatchCoding.mostPublishes {
            let place = number * ArenaJournal.batchReceiptSize + ArenaJournal.batchReceiptText
            unsafe cells.storeBytes(of: 0, toByteOffset: place, as: UInt64.self)
        }
        journal.batch = .init(source: asker.source, correlation: asker.correlation, chunk: chunk)
        return []
    }

    /// Returns the replies to the publishes that are done, each of which becomes valid with its own delivery.
    private func replies(of batch: ArenaJournal.BatchUnderWay) -> [CommandReply] {
        let cells = unsafe arena.bytes(of: batch.chunk, count: ArenaJournal.batchReceiptBytes)
        var replies: [CommandReply] = []
        for number in 0..<BatchCoding.mostPublishes {
            let start = number * ArenaJournal.batchReceiptSize
            let place = start + ArenaJournal.batchReceiptText
            let delivery = unsafe cells.load(fromByteOffset: place, as: UInt64.self)
            guard delivery > 0, delivery <= journal.done else { break }
            let length = min(Int(unsafe cells[start]), ArenaJournal.batchReceiptText - 1)
            let bytes = unsafe Array(cells[start + 1..<start + 1 + length])
            replies.append((try? CommandCoding.decodeReply(bytes, in: 0..<bytes.count)) ?? .failed(.malformed))
        }
        return replies
    }

    /// Notes the reply to one of the batch's publishes, before the publish counts as done.
    func noteBatch(_ reply: CommandReply, at number: Int) {
        guard let batch = journal.batch, number < BatchCoding.mostPublishes else { return }
        var bytes = CommandCoding.encode(reply)
        if bytes.count >= ArenaJournal.batchReceiptText { bytes = CommandCoding.encode(.failed(.overloaded)) }
        let cells = unsafe arena.bytes(of: batch.chunk, count: ArenaJournal.batchReceiptBytes)
        let start = number * ArenaJournal.batchReceiptSize
        unsafe cells[start] = UInt8(bytes.count)
        for (offset, byte) in bytes.enumerated() { unsafe cells[start + 1 + offset] = byte }
        let place = start + ArenaJournal.batchReceiptText
        unsafe cells.storeBytes(of: journal.begun, toByteOffset: place, as: UInt64.self)
    }

    func endBatch(_ asker: PeerHeader, _ reply: [UInt8]) {
        if let chunk = arena.makeRecord(reply) {
            remember(.chunk(chunk, count: reply.count), for: asker, delivery: journal.done)
        }
        guard let batch = journal.batch else { return }
        journal.batch = nil
        arena.free(batch.chunk)
    }

    // MARK: Taking over

    /// Reads what the previous worker has left, and returns the bindings that go on.
    func restore(now: UInt64) -> [(user: String, thread: String)] {
        resumed = journal.batch.map { replies(of: $0) } ?? []
        remindOfAnswers()
        answers.restore(done: journal.done, now: now)
        var restored: [(user: String, thread: String)] = []
        for (place, bytes) in bindingTable.records {
            guard let (user, thread) = Self.binding(bytes) else {
                bindingTable.remove(place)
                continue
            }
            bindings[Binding(user: ExactText(user), thread: ExactText(thread))] = place
            restored.append((user, thread))
        }
        return restored
    }

    // MARK: Another number of shards

    /// Copies what another shard has recorded about users that are ours now; nothing is changed there.
    ///
    /// Returns their bindings; throws if there is no memory for them.
    func gather(
        from source: Arena,
        isFirst: Bool,
        isOurs: (_ slot: Int) -> Bool
    ) throws -> [(user: String, thread: String)] {
        answers.gather(from: source, isFirst: isFirst, isOurs: isOurs)
        var restored: [(user: String, thread: String)] = []
        var isFull = false
        unsafe ForeignTable(.bindings, in: source).forEach { bytes in
            guard let (user, thread) = Self.binding(bytes), isOurs(ShardMap.userSlot(of: user)) else { return }
            if !bind(user: user, thread: thread) { isFull = true }
            restored.append((user, thread))
        }
        if isFull { throw TakeOverProblem("the shared memory is full") }
        return restored
    }

    private static func binding(_ bytes: [UInt8]) -> (user: String, thread: String)? {
        var reader = ByteReader(bytes)
        guard let user = try? reader.text(limit: 256), let thread = try? reader.text(limit: 256) else { return nil }
        return (user, thread)
    }
}

extension Command {
    /// True if a repeated request would do something else, or get another answer, than the first one.
    var isRemembered: Bool {
        switch self {
        case .listConnections, .describe, .statistics, .makeToken, .checkToken, .batch, .fromClient: false
        default: true
        }
    }

    /// The slot of the single user that the command is about; nil if there is none.
    var userSlot: Int? {
        switch self {
        case .sendToUser(let user): ShardMap.userSlot(of: user)
        case .sendToConnection(let id): id.userSlot
        default: nil
        }
    }
}
