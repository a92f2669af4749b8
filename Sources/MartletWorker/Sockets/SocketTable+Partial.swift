internal import MartletCore
internal import MartletWire

// Messages whose ends have not come may take so much memory, of all connections together. Where more is needed, whoever has
// held theirs longest goes: those who begin a message and never end it keep nobody from saying theirs.

extension SocketTable {
    /// What a receive chunk counts of what all may hold: a few bytes of everybody are nobody's fault.
    static func counted(_ capacity: Int) -> Int { capacity > 16384 ? capacity : 0 }

    /// Makes room for more bytes of a connection; false where it was its own turn to go.
    func makeRoom(for index: Int, _ more: Int) -> Bool {
        while partialBytes + more > limits.partialBytes {
            guard let (holder, number) = partials.popFirst() else {
                // More than all may have, for one.
                refusePartial(index)
                return false
            }
            guard locals.indices.contains(holder), locals[holder].partial == number else { continue }
            refusePartial(holder)
            if holder == index { return false }
        }
        return true
    }

    /// The client is told to come again; what it has begun to say is dropped.
    private func refusePartial(_ index: Int) {
        let slot = arena.slot(index)
        tally.counters[.partialMessagesRefused] += 1
        fail(index, slot, .tryAgainLater)
        freeReceiveChunk(index, slot)
        slot.reader = MessageReader()
        refused.append(index)
    }

    /// A connection holds bytes that count, from now on.
    func beginPartial(_ index: Int) {
        guard locals[index].partial == 0 else { return }
        lastPartial = lastPartial == .max ? 1 : lastPartial + 1
        locals[index].partial = lastPartial
        partialCount += 1
        partials.append(index, lastPartial)
        // Those that are over are not looked for in the queue, but they do not fill it either.
        guard partials.count > 2 * partialCount + 64 else { return }
        for _ in 0..<partials.count {
            guard let (holder, number) = partials.popFirst() else { return }
            if locals.indices.contains(holder), locals[holder].partial == number { partials.append(holder, number) }
        }
    }

    func endPartial(_ index: Int) {
        guard locals[index].partial != 0 else { return }
        locals[index].partial = 0
        partialCount -= 1
    }

    /// Takes the list of those who were refused, whom the manager is to forget.
    func takeRefused() -> [Int] {
        if refused.isEmpty { return [] }
        defer { refused = [] }
        return refused
    }
}
