// SPDX-License-Identifier: Apache-2.0

/// Deadlines in order: a binary heap of (deadline, token) pairs.
///
/// A timer cannot be cancelled: its owner ignores it when it fires. Where many deadlines come and go (such as those of
/// handshakes), one timer over an ordered list is used instead.
package struct TimerHeap {
    private struct Entry {
        let deadline: UInt64
        let token: UInt64
    }

    private var heap: [Entry] = []

    package init() {}

    package var isEmpty: Bool { heap.isEmpty }

    /// The deadline that comes first, in nanoseconds of the monotonic clock.
    package var earliest: UInt64? { heap.first?.deadline }

    package mutating func insert(deadline: UInt64, token: UInt64) {
        heap.append(Entry(deadline: deadline, token: token))
        siftUp(heap.count - 1)
    }

    /// Removes the earliest timer whose deadline is not after `now`, and returns its token; nil when none is due.
    package mutating func popDue(now: UInt64) -> UInt64? {
        guard let first = heap.first, first.deadline <= now else { return nil }
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        siftDown(0)
        return first.token
    }

    private mutating func siftUp(_ start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            if heap[parent].deadline <= heap[child].deadline { return }
            heap.swapAt(parent, child)
            child = parent
        }
    }

    private mutating func siftDown(_ start: Int) {
        var parent = start
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if heap[child].deadline < heap[least].deadline { least = child }
            }
            if least == parent { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
