internal import Synchronization

// Connections by the addresses that they came from.
//
// A place says in one word whose it is (``AddressWord``), and each shard counts in a row of its own how many of that address
// it has there. Why no address is ever counted at a place of another one, and so never has more than its limit:
//
// 1. Whoever counts adds to its own row first and looks at the word afterwards; only a word that names the address, and is not
//    in question, lets the count stand. All of this is sequentially consistent.
// 2. A place is given to another address in two steps: its word is put in question; then, after all rows were seen to be zero,
//    the word is exchanged for the new one.
// 3. Each exchange makes a version that the word did not have before. So if the second step succeeds, the word has been in
//    question, and the same, since before the rows were read. Whoever counted in that time found the word in question and
//    took its count back; whoever let a count stand before had added to its row before, and the rows were not zero.
// 4. Nothing waits for anybody: a word that is left in question, by a worker that died or was halted, is settled by the next
//    one who wants the place, for its address or for another one.
//
// Two things are beyond this. A version has 16 bits: whoever is halted in the second step while the place changes hands some
// 30,000 times may meet the same word again. And a worker that takes over writes its row as its connections say
// (``NodeBoard/restore``), even where the one before had already counted one of them out and another address has the place since:
// that one is counted at the wrong place until it ends. A worker of a version that knew no such words, which serves for a moment
// beside ours during an upgrade, counts an address anew.
//
// An address may have several places where many come at once; the limit is compared with the sum of all of them.

extension NodeBoard {
    /// How far from its first place an address is looked for.
    private static let window = 32
    /// How often a place that changes hands is tried again.
    private static let mostTries = 8

    /// Counts one more connection from an address; returns where, or nil where the address has as many as it may.
    ///
    /// Never more than the limit; two that come at the very same time for the last one may both be refused.
    ///
    /// * `address`: a number that stands for it, not 0.
    /// * `limit`: the most connections, of all shards together.
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

    /// A number for the address that is counted at a place.
    package func address(at place: Int) -> UInt64? {
        guard place >= 0, place < places else { return nil }
        return load(place).tag
    }

    /// Connections from an address, on all shards.
    package func connections(from address: UInt64) -> Int { connections(AddressWord.tag(of: address)) }

    /// What is in question counts, too: it may come to stand.
    private func connections(_ tag: UInt64) -> Int {
        candidates(tag).reduce(0) { sum, place in load(place).tag == tag ? sum + total(at: place) : sum }
    }

    /// A place of the address, or one that nobody uses any more and that is the address's now.
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
        // Where nobody was ever counted there is nothing to be seen to.
        if word == AddressWord.none { return exchange(place, word, word.next(tag)) }
        guard total(at: place) == 0 else { return word.isOf(tag) }
        if !word.isInQuestion {
            guard exchange(place, word, word.inQuestion) else { return load(place).isOf(tag) }
            word = word.inQuestion
        }
        guard total(at: place) == 0 else {
            // Somebody counts there, and counts on.
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

/// Whose a place of the board is: the lower 47 bits of the address's number, a bit that puts it in question, and a version that
/// changes with every change.
private struct AddressWord: Equatable {
    private static let tagMask: UInt64 = 1 << 47 - 1
    private static let questionBit: UInt64 = 1 << 47
    private static let versionStep: UInt64 = 1 << 48

    /// Nobody's, ever.
    static let none = AddressWord(rawValue: 0)

    let rawValue: UInt64

    /// Never 0, which is nobody's.
    static func tag(of address: UInt64) -> UInt64 { max(1, address & tagMask) }

    var tag: UInt64 { rawValue & Self.tagMask }
    var isInQuestion: Bool { rawValue & Self.questionBit != 0 }

    /// True where whoever counts for an address counts for good.
    func isOf(_ tag: UInt64) -> Bool { self.tag == tag && !isInQuestion }

    var inQuestion: AddressWord { AddressWord(rawValue: version &+ Self.versionStep | Self.questionBit | tag) }
    var settled: AddressWord { next(tag) }

    func next(_ tag: UInt64) -> AddressWord { AddressWord(rawValue: version &+ Self.versionStep | tag) }

    private var version: UInt64 { rawValue & ~(Self.questionBit | Self.tagMask) }
}
