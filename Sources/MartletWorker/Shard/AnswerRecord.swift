// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

/// The answers that a shard has given to requests with an `Idempotency-Key`, kept in the arena for its successor.
///
/// A successor reads only the head of each answer, and decodes the few that somebody asks for again: there may be a
/// quarter of a million of them, and clients wait in the meantime.
final class AnswerRecord {
    /// An answer, and its place in the arena.
    struct Remembered: Sendable {
        let reply: CommandReply
        let place: ArenaTable.Place?
    }

    typealias Finding = IdempotencyRecord<Remembered>.Finding

    /// The most answers that are remembered.
    private static let most = 262_144

    private let arena: Arena
    private lazy var table = ArenaTable(.answers, in: arena)
    private var answers = IdempotencyRecord<Remembered>(capacity: most)
    /// The answers of previous workers: their places in the table, by the hashes of their names.
    private var inherited: [UInt64: ArenaTable.Place] = [:]
    /// When each of those answers expires, in order, with its place.
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

    /// How many answers were forgotten before they expired.
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
    /// `slot` is that of the user that the answer is about; nil: several users.
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

    /// Reads what the previous worker has left; `done` is the last delivery that it had done.
    func restore(done: UInt64, now: UInt64) {
        let latest = answers.expiry(now: now)
        var dead: [ArenaTable.Place] = []
        unsafe table.forEachPrefix(of: KeyedAnswer.Head.byteCount) { place, bytes in
            // An answer is written before its delivery counts as done. If it never did, it will be done again.
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

    /// Copies the answers that are ours now from another shard's arena, where nothing is changed.
    ///
    /// Of an answer for several users, each shard knows its own part. The first of the new shards (`isFirst`) remembers
    /// the sum of all parts, and the others remember that they have nothing to add: so the sum remains the same.
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
            // The checked copy decides, not what was there a moment before.
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

    /// Returns what we remember of an answer for several users, including what we already know; nil: nothing more.
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
