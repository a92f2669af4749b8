internal import MartletCore
internal import MartletWire

/// The answers by `Idempotency-Key` that a shard has given, kept in the arena for its successor.
///
/// A successor reads of each only where it belongs, and decodes the few that somebody asks for again: there may be a
/// quarter of a million, and clients wait meanwhile.
final class AnswerRecord {
    /// An answer by its key, and where the arena has it.
    struct Remembered: Sendable {
        let reply: CommandReply
        let place: ArenaTable.Place?
    }

    typealias Finding = IdempotencyRecord<Remembered>.Finding

    /// Answers that are remembered.
    private static let most = 262_144

    private let arena: Arena
    private lazy var table = ArenaTable(.answers, in: arena)
    private var answers = IdempotencyRecord<Remembered>(capacity: most)
    /// Answers of the workers before us: places in the table by the hashes of their names.
    private var inherited: [UInt64: ArenaTable.Place] = [:]
    /// When each of those is due, with its place, in order.
    private var due: [Due] = []
    private var dueStart = 0
    private var inheritedForgottenEarly = 0

    private struct Due: Comparable {
        let expiry: UInt64
        let hash: UInt64
        let place: ArenaTable.Place

        static func < (left: Due, right: Due) -> Bool { left.expiry < right.expiry }
    }

    init(arena: Arena) { self.arena = arena }

    /// Answers that were forgotten before their time.
    var forgottenEarly: Int { answers.forgottenEarly + inheritedForgottenEarly }

    func find(_ name: String, fingerprint: UInt64, now: UInt64) -> Finding {
        let finding = answers.find(name, fingerprint: fingerprint, now: now)
        guard case .new = finding, !inherited.isEmpty, let place = inherited[KeyedAnswer.hash(name)],
            let answer = table.record(at: place).flatMap(KeyedAnswer.init), answer.name.isExactly(name),
            answer.head.expiry > now
        else { return finding }
        return answer.head.fingerprint == fingerprint
            ? .known(Remembered(reply: answer.reply, place: place)) : .conflict
    }

    /// Remembers the answer of a delivery that is under way.
    ///
    /// `slot`: of the user that it is about; nil: several.
    func remember(
        _ reply: CommandReply,
        key name: String,
        fingerprint: UInt64,
        delivery: UInt64,
        slot: Int?,
        now: UInt64
    ) {
        let head = KeyedAnswer.Head(
            delivery: delivery,
            expiry: answers.expiry(now: now),
            fingerprint: fingerprint,
            hash: KeyedAnswer.hash(name),
            slot: slot
        )
        let place = table.insert(KeyedAnswer(head, name: name, reply: reply).bytes)
        forgetInherited(now)
        for old in answers.remember(name, fingerprint: fingerprint, Remembered(reply: reply, place: place), now: now) {
            if let place = old.place { table.remove(place) }
        }
    }

    // MARK: Taking over

    /// Reads what the worker before us has left; `done`: the deliveries that it had done.
    func restore(done: UInt64, now: UInt64) {
        let latest = answers.expiry(now: now)
        var dead: [ArenaTable.Place] = []
        unsafe table.forEachPrefix(of: KeyedAnswer.Head.byteCount) { place, bytes in
            // Written before the delivery counted as done; where it never did, it will be done anew.
            guard let head = unsafe KeyedAnswer.Head(bytes), head.delivery <= done, head.expiry <= latest else {
                dead.append(place)
                return
            }
            due.append(Due(expiry: head.expiry, hash: head.hash, place: place))
        }
        for place in dead { table.remove(place) }
        due.sort()
        inherited.reserveCapacity(due.count)
        for answer in due { inherited[answer.hash] = answer.place }
    }

    /// Copies from another shard's arena what is ours now; nothing is changed there.
    ///
    /// Of an answer for several users each shard knows its own part. The first of the new shards (`isFirst`) remembers the sum
    /// of all parts, the others remember that they have nothing to add: however many shards there are, the sum stays.
    func gather(from source: Arena, isFirst: Bool, isOurs: (_ slot: Int) -> Bool) {
        let done = source.journal.done
        var replaced: Set<ArenaTable.Place> = []
        func wants(_ head: KeyedAnswer.Head) -> Bool {
            head.delivery <= done && (head.slot.map { isOurs($0) } ?? (isFirst || inherited[head.hash] == nil))
        }
        unsafe ForeignTable(.answers, in: source).forEach(
            prefix: KeyedAnswer.Head.byteCount,
            where: { unsafe KeyedAnswer.Head($0).map { wants($0) } ?? false }
        ) { record in
            // What was checked counts, not what was there a moment before.
            guard var head = unsafe record.withUnsafeBytes({ unsafe KeyedAnswer.Head($0) }), wants(head) else { return }
            head.delivery = 0
            let copied = head.slot == nil ? part(of: record, head, isFirst: isFirst, &replaced) : record
            guard let copied else { return }
            var writer = ByteWriter()
            head.write(to: &writer)
            guard let copy = table.insert(writer.bytes + copied.dropFirst(KeyedAnswer.Head.byteCount)) else { return }
            due.append(Due(expiry: head.expiry, hash: head.hash, place: copy))
            inherited[head.hash] = copy
        }
        for place in replaced { table.remove(place) }
        due.removeAll { replaced.contains($0.place) }
        due.sort()
    }

    private static let nothing = CommandCoding.encode(.receipt(Delivery()))

    /// What we remember of an answer for several users, with what we know of it already; nil: nothing more.
    private func part(
        of record: [UInt8],
        _ head: KeyedAnswer.Head,
        isFirst: Bool,
        _ replaced: inout Set<ArenaTable.Place>
    ) -> [UInt8]? {
        if !isFirst { return KeyedAnswer.part(record, reply: Self.nothing) }
        guard let place = inherited[head.hash] else { return record }
        guard let answer = KeyedAnswer(record), case .receipt(var sum) = answer.reply else { return nil }
        if let known = table.record(at: place).flatMap(KeyedAnswer.init),
            known.name.isExactly(answer.name), case .receipt(let delivery) = known.reply
        {
            sum.merge(delivery)
            replaced.insert(place)
        }
        return KeyedAnswer(head, name: answer.name, reply: .receipt(sum)).bytes
    }

    private func forgetInherited(_ now: UInt64) {
        while dueStart < due.count {
            let first = due[dueStart]
            let isDue = first.expiry <= now
            guard isDue || due.count - dueStart + answers.count >= Self.most else { break }
            dueStart += 1
            table.remove(first.place)
            if inherited[first.hash] == first.place { inherited[first.hash] = nil }
            if !isDue { inheritedForgottenEarly += 1 }
        }
        if dueStart == due.count, dueStart > 0 {
            due = []
            dueStart = 0
        }
    }
}
