// SPDX-License-Identifier: Apache-2.0

/// Connections that will be read later, in the order in which they were put off.
struct LaterQueue {
    /// How much time of a turn the messages of one connection may take, in nanoseconds; one message may take longer.
    static let slice: UInt64 = 250_000
    /// How much time of a turn all connections that were put off may take together.
    static let share: UInt64 = 4_000_000
    /// How long a turn may take before the next connections are put off.
    static let turn: UInt64 = 5_000_000

    private var entries: [(index: Int, generation: UInt32)] = []
    private var start = 0

    var isEmpty: Bool { start == entries.count }
    var count: Int { entries.count - start }

    mutating func append(_ index: Int, _ generation: UInt32) { entries.append((index, generation)) }

    /// Removes and returns the first connection; the caller compares generations.
    mutating func popFirst() -> (index: Int, generation: UInt32)? {
        guard start < entries.count else { return nil }
        defer {
            start += 1
            if start == entries.count {
                entries.removeAll(keepingCapacity: entries.capacity <= 4096)
                start = 0
            } else if start > 4096, start * 2 > entries.count {
                entries.removeFirst(start)
                start = 0
            }
        }
        return entries[start]
    }
}
