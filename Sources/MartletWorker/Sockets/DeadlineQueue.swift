// SPDX-License-Identifier: Apache-2.0

/// Deadlines after the same time, in the order in which they were set, so that the first one is always due first.
struct DeadlineQueue {
    private var entries: [(index: Int32, generation: UInt32, deadline: UInt64)] = []
    private var start = 0

    var earliest: UInt64? { start < entries.count ? entries[start].deadline : nil }

    mutating func append(_ index: Int, _ generation: UInt32, deadline: UInt64) {
        entries.append((Int32(index), generation, deadline))
    }

    var count: Int { entries.count - start }

    /// Removes the entries that `isKept` refuses; the others keep their order.
    mutating func removeAll(unless isKept: (_ index: Int, _ generation: UInt32) -> Bool) {
        entries.removeFirst(start)
        start = 0
        entries.removeAll { !isKept(Int($0.index), $0.generation) }
    }

    /// Visits the entries, first to last, until `visit` returns false.
    func forEach(_ visit: (_ index: Int, _ generation: UInt32) -> Bool) {
        for entry in entries[start...] where !visit(Int(entry.index), entry.generation) { return }
    }

    /// Removes and returns the first entry if it is due.
    ///
    /// The slot may have a new connection by now: the caller compares generations.
    mutating func popDue(now: UInt64) -> (index: Int, generation: UInt32)? {
        guard start < entries.count, entries[start].deadline <= now else { return nil }
        let entry = entries[start]
        start += 1
        if start == entries.count {
            entries.removeAll(keepingCapacity: entries.capacity <= 4096)
            start = 0
        } else if start > 4096, start * 2 > entries.count {
            entries.removeFirst(start)
            start = 0
        }
        return (Int(entry.index), entry.generation)
    }
}
