// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

// The limit of memory for unfinished messages of all connections together. If more is needed, the connection goes that
// has held its bytes longest: clients that begin a message and never end it do not prevent others from sending theirs.

extension SocketTable {
    /// Returns how much a receive chunk counts towards the limit: a few bytes of each connection do not count.
    static func counted(_ capacity: Int) -> Int { capacity > 16384 ? capacity : 0 }

    /// Makes room for more bytes of a connection; false if this connection itself had to go.
    func makeRoom(for index: Int, _ more: Int) -> Bool {
        while partialBytes + more > limits.partialBytes {
            guard let (holder, number) = partials.popFirst() else {
                // A single connection needs more than all together may have.
                refusePartial(index)
                return false
            }
            guard locals.indices.contains(holder), locals[holder].partial == number else { continue }
            refusePartial(holder)
            if holder == index { return false }
        }
        return true
    }

    /// Closes a connection, telling its client to reconnect later, and drops its unfinished message.
    private func refusePartial(_ index: Int) {
        let slot = arena.slot(index)
        tally.counters[.partialMessagesRefused] += 1
        fail(index, slot, .tryAgainLater)
        freeReceiveChunk(index, slot)
        slot.reader = MessageReader()
        refused.append(index)
    }

    /// Notes that a connection holds bytes that count from now on.
    func beginPartial(_ index: Int) {
        guard locals[index].partial == 0 else { return }
        lastPartial = lastPartial == .max ? 1 : lastPartial + 1
        locals[index].partial = lastPartial
        partialCount += 1
        partials.append(index, lastPartial)
        // Entries of connections that have ended are not searched for, but they must not fill the queue either.
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

    /// Takes the list of connections that were refused, which the manager must forget.
    func takeRefused() -> [Int] {
        if refused.isEmpty { return [] }
        defer { refused = [] }
        return refused
    }
}
