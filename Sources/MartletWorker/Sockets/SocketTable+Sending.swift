// SPDX-License-Identifier: Apache-2.0

internal import MartletLinux
internal import MartletWire

extension SocketTable {
    /// Writes what was queued in this turn, with one write for each socket.
    func flushDirty() {
        guard !dirty.isEmpty else { return }
        for slot in dirty {
            locals[slot].isDirty = false
            // A socket that waits for room is written when epoll reports it.
            if locals[slot].descriptor >= 0, !locals[slot].watchesWritable, !locals[slot].isHeld { flush(slot) }
        }
        dirty.removeAll(keepingCapacity: true)
    }

    /// Writes as much of a socket's queue as the kernel takes.
    func flush(_ index: Int) {
        let slot = arena.slot(index)
        while let first = arena.first(of: slot), !locals[index].isGone {
            let outcome = write(first, slot, locals[index].descriptor)
            switch outcome {
            case .moved(let count):
                Fault.at(.sent)
                didSend(count, from: first, slot)
            case .wouldBlock, .ended:
                watchWritable(index, slot, true)
                return
            case .failed:
                markGone(index)
                return
            }
        }
        if locals[index].watchesWritable { watchWritable(index, slot, false) }
        if slot.state == .closing { queueDrained(index, slot) }
    }

    private func write(_ first: Arena.QueueEntry, _ slot: ArenaSlot, _ descriptor: Int32) -> StreamOutcome {
        let skipped = Int(slot.sentPosition - slot.headPosition)
        let count = arena.queueCount(of: slot)
        if count == 1 {
            let bytes = unsafe arena.frameBytes(first.frame)
            guard let start = bytes.baseAddress else { return .wouldBlock }
            return unsafe StreamSocket.send(descriptor, start + skipped, bytes.count - skipped)
        }
        gather.removeAll()
        for position in 0..<min(count, Gather.capacity) {
            let bytes = unsafe arena.frameBytes(arena.entry(position, of: slot).frame)
            guard let start = bytes.baseAddress else { break }
            let offset = position == 0 ? skipped : 0
            unsafe gather.append(start + offset, bytes.count - offset)
        }
        return gather.send(to: descriptor)
    }

    /// Records what the kernel took: first the position, then the frames that are completely sent.
    private func didSend(_ count: Int, from first: Arena.QueueEntry, _ slot: ArenaSlot) {
        slot.sentPosition += UInt64(count)
        var entry = first
        while slot.sentPosition - slot.headPosition >= UInt64(entry.byteCount) {
            queuedBytes -= Int(entry.byteCount)
            if arena.didSendFirst(of: slot) { didKeep(Int(entry.byteCount), slot) }
            guard let next = arena.first(of: slot) else { return }
            entry = next
        }
    }

    private func watchWritable(_ index: Int, _ slot: ArenaSlot, _ isOn: Bool) {
        guard locals[index].watchesWritable != isOn else { return }
        let token = EventToken(.socket, index: index, generation: slot.generation)
        let interest: EventLoop.Interest = isOn ? [.readable, .writable] : .readable
        guard (try? loop.modify(locals[index].descriptor, token: token.rawValue, interest: interest)) != nil else {
            markGone(index)
            return
        }
        locals[index].watchesWritable = isOn
    }

    /// Handles an empty queue after our close frame: the connection is over, or waits for the peer's close frame.
    private func queueDrained(_ index: Int, _ slot: ArenaSlot) {
        if slot.flags.contains(.closeReceived) {
            markGone(index)
        } else if slot.flags.contains(.discards) {
            // The peer's stream cannot be read any more; our end of file tells it to leave.
            StreamSocket.shutdownWriting(locals[index].descriptor)
        }
    }
}
