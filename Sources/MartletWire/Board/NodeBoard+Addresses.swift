// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// Counts of connections by the addresses that they came from.
//
// A place says in one word which address owns it (``AddressWord``), and each shard counts in its own row how many
// connections from that address it has there. No address is ever counted at the place of another one, and so none
// exceeds its limit:
//
// 1. A worker that counts adds to its own row first, and looks at the word afterwards. The count stands only if the
//    word names the address and is not in question. All of this is sequentially consistent.
// 2. A place is given to another address in two steps: first its word is put in question; then, after all rows were
//    seen to be zero, the word is exchanged for the new one.
// 3. Each exchange makes a version that the word did not have before. So if the second step succeeds, the word has been
//    in question, and unchanged, since before the rows were read. A worker that counted in that time found the word in
//    question and took its count back. A worker whose count stood had added to its row before that, so the rows were
//    not zero.
// 4. Nothing waits for anybody: if a worker that died or was halted leaves a word in question, the next worker that
//    wants the place settles it, for the same address or for another one.
//
// Two cases are not covered. First, a version has 16 bits: a worker that is halted in the second step while the place
// changes hands some 30,000 times may meet the same word again. Second, a worker that takes over writes its row
// according to its connections (``NodeBoard/restore``). If the previous worker had already counted one of them out, and
// another address has taken the place since, that connection is counted at the wrong place until it ends. A worker of a
// version without such words, which serves beside ours for a moment during an upgrade, starts the count of an address
// anew.
//
// An address may have several places when many connections come at once; the limit applies to the sum of all of them.

extension NodeBoard {
    /// How many places are searched for an address, beginning with its first.
    private static let window = 32
    /// How many attempts are made when places change hands.
    private static let mostTries = 8

    /// Counts one more connection from an address, unless it has as many as it may.
    ///
    /// There are never more than the limit. If two connections compete for the last place at the same moment, both may
    /// be refused.
    ///
    /// - Parameters:
    ///   - address: A number that stands for the address; not 0.
    ///   - shard: The shard that has the connection.
    ///   - limit: The most connections, of all shards together.
    /// - Returns: The place where it is counted; nil if it is refused.
    package func openAddress(_ address: UInt64, shard: Int, limit: Int) -> Int? {
        let tag = AddressWord.tag(of: address)
        for _ in 0..<Self.mostTries {
            guard let place = claim(tag) else { return nil }
            let own = unsafe count(shard, place)
            _ = unsafe own.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
            let isIts = load(place).isOf(tag)
            if isIts, connections(tag) <= limit { return place }
            _ = unsafe own.pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent)
            if isIts { return nil }
        }
        return nil
    }

    package func closeAddress(at place: Int, shard: Int) {
        guard place >= 0, place < places else { return }
        _ = unsafe count(shard, place).pointee.wrappingSubtract(1, ordering: .relaxed)
    }

    /// Returns a number that stands for the address that is counted at a place.
    package func address(at place: Int) -> UInt64? {
        guard place >= 0, place < places else { return nil }
        return load(place).tag
    }

    /// Returns how many connections an address has, on all shards.
    package func connections(from address: UInt64) -> Int { connections(AddressWord.tag(of: address)) }

    /// Returns how many connections an address has; places in question count too, because they may be settled.
    private func connections(_ tag: UInt64) -> Int {
        candidates(tag).reduce(0) { sum, place in load(place).tag == tag ? sum + total(at: place) : sum }
    }

    /// Returns a place of the address, after taking over an unused one if necessary.
    private func claim(_ tag: UInt64) -> Int? {
        for place in candidates(tag) {
            let word = load(place)
            if word.isOf(tag) || (word.tag == tag && exchange(place, word, word.settled)) { return place }
        }
        for place in candidates(tag) where take(place, tag) { return place }
        return nil
    }

    private func take(_ place: Int, _ tag: UInt64) -> Bool {
        var word = load(place)
        // If nobody was ever counted here, one step is enough.
        if word == AddressWord.none { return exchange(place, word, word.next(tag)) }
        guard total(at: place) == 0 else { return word.isOf(tag) }
        if !word.isInQuestion {
            guard exchange(place, word, word.inQuestion) else { return load(place).isOf(tag) }
            word = word.inQuestion
        }
        guard total(at: place) == 0 else {
            // Somebody counts here, and may go on.
            _ = exchange(place, word, word.settled)
            return false
        }
        return exchange(place, word, word.next(tag))
    }

    private func candidates(_ tag: UInt64) -> [Int] {
        guard places > 0 else { return [] }
        return (0..<min(Self.window, places)).map { Int(truncatingIfNeeded: tag &+ UInt64($0)) & (places - 1) }
    }

    private func total(at place: Int) -> Int {
        (0..<shards).reduce(0) { sum, shard in
            sum + Self.credible(Int64(unsafe count(shard, place).pointee.load(ordering: .sequentiallyConsistent)))
        }
    }

    private func load(_ place: Int) -> AddressWord {
        AddressWord(rawValue: unsafe word(place).pointee.load(ordering: .sequentiallyConsistent))
    }

    private func exchange(_ place: Int, _ old: AddressWord, _ new: AddressWord) -> Bool {
        unsafe word(place).pointee.compareExchange(
            expected: old.rawValue,
            desired: new.rawValue,
            ordering: .sequentiallyConsistent
        ).exchanged
    }
}

/// The owner of a place of the board: the lower 47 bits of the address's number, a bit that puts it in question, and a
/// version that changes with every exchange.
private struct AddressWord: Equatable {
    private static let tagMask: UInt64 = 1 << 47 - 1
    private static let questionBit: UInt64 = 1 << 47
    private static let versionStep: UInt64 = 1 << 48

    /// The word of a place that never had an owner.
    static let none = AddressWord(rawValue: 0)

    let rawValue: UInt64

    /// Returns the tag of an address; it is never 0, which means nobody.
    static func tag(of address: UInt64) -> UInt64 { max(1, address & tagMask) }

    var tag: UInt64 { rawValue & Self.tagMask }
    var isInQuestion: Bool { rawValue & Self.questionBit != 0 }

    /// Returns true if a count for this address stands.
    func isOf(_ tag: UInt64) -> Bool { self.tag == tag && !isInQuestion }

    var inQuestion: AddressWord { AddressWord(rawValue: version &+ Self.versionStep | Self.questionBit | tag) }
    var settled: AddressWord { next(tag) }

    func next(_ tag: UInt64) -> AddressWord { AddressWord(rawValue: version &+ Self.versionStep | tag) }

    private var version: UInt64 { rawValue & ~(Self.questionBit | Self.tagMask) }
}
