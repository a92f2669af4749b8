/// Deadlines in order: a binary heap of (deadline, token) pairs, with cancellation by id.
///
/// A cancelled timer stays in the heap until its deadline passes, so the heap suits timers that are few or mostly fire.
/// For timers that are cancelled by the thousand (such as handshake deadlines), one timer over an ordered list is used
/// instead.
package struct TimerHeap {
    /// The id of a pending timer.
    package struct ID: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    private struct Entry {
        let deadline: UInt64
        let id: UInt64
        let token: UInt64
    }

    private var heap: [Entry] = []
    private var pending: Set<UInt64> = []
    private var nextID: UInt64 = 0

    package init() {}

    package var isEmpty: Bool { pending.isEmpty }

    /// The deadline that comes first, in nanoseconds of the monotonic clock.
    package var earliest: UInt64? { heap.first?.deadline }

    package mutating func insert(deadline: UInt64, token: UInt64) -> ID {
        nextID += 1
        pending.insert(nextID)
        heap.append(Entry(deadline: deadline, id: nextID, token: token))
        siftUp(heap.count - 1)
        return ID(number: nextID)
    }

    /// Cancels a timer; it is not an error if it has already fired.
    package mutating func cancel(_ id: ID) {
        pending.remove(id.number)
        dropCancelled()
    }

    /// Removes the earliest timer whose deadline is not after `now`, and returns its token; nil when none is due.
    package mutating func popDue(now: UInt64) -> UInt64? {
        guard let first = heap.first, first.deadline <= now else { return nil }
        removeFirst()
        pending.remove(first.id)
        dropCancelled()
        return first.token
    }

    /// Removes cancelled timers from the front, so that ``earliest`` is correct.
    private mutating func dropCancelled() {
        while let first = heap.first, !pending.contains(first.id) { removeFirst() }
    }

    private mutating func removeFirst() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        siftDown(0)
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
