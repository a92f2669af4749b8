internal import MartletCore
internal import MartletLinux
internal import MartletWire

extension SocketTable {
    /// Takes what a socket has to read, and hands over each message of an open connection.
    ///
    /// - Parameters:
    ///   - index: the slot.
    ///   - deliver: called with the opcode and the payload, which is valid during the call.
    func receive(_ index: Int, _ deliver: (Opcode, Span<UInt8>) -> Void) {
        let slot = arena.slot(index)
        let isInChunk = slot.receiveChunk != 0
        let target = unsafe isInChunk ? receiveTail(slot) : arena.landing
        guard let start = target.baseAddress, target.count > 0 else {
            markGone(index)
            return
        }
        switch unsafe StreamSocket.receive(locals[index].descriptor, start, target.count) {
        case .wouldBlock: return
        case .ended, .failed:
            markGone(index)
            return
        case .moved(let count):
            slot.readPosition += UInt64(count)
            slot.lastReceived = unsafe loop.now
            if slot.flags.contains(.discards) { return }
            if isInChunk {
                slot.receiveLength += UInt32(count)
                unsafe read(index, slot, receiveChunkBytes(slot), deliver)
            } else {
                unsafe read(index, slot, UnsafeRawBufferPointer(start: start, count: count), deliver)
            }
        }
    }

    /// Reads what came behind the HTTP head, before anything else is received.
    func receiveLeftover(_ index: Int, _ deliver: (Opcode, Span<UInt8>) -> Void) {
        let slot = arena.slot(index)
        if slot.receiveChunk != 0 { unsafe read(index, slot, receiveChunkBytes(slot), deliver) }
    }

    private func receiveChunkBytes(_ slot: ArenaSlot) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(arena.bytes(of: slot.receiveChunk, count: Int(slot.receiveLength)))
    }

    /// The free end of a connection's own receive chunk.
    private func receiveTail(_ slot: ArenaSlot) -> UnsafeMutableRawBufferPointer {
        let whole = unsafe arena.bytes(of: slot.receiveChunk, count: Int(slot.receiveCapacity))
        return unsafe UnsafeMutableRawBufferPointer(rebasing: whole[Int(slot.receiveLength)...])
    }

    // MARK: Reading messages

    private func read(
        _ index: Int,
        _ slot: ArenaSlot,
        _ region: UnsafeRawBufferPointer,
        _ deliver: (Opcode, Span<UInt8>) -> Void
    ) {
        let bytes = unsafe RawSpan(_unsafeBytes: region)
        let maximum = slot.flags.contains(.echo) ? Limits.echoMessageBytes : limits.messageBytes
        var reader = slot.reader
        reading: while !locals[index].isGone {
            switch reader.next(bytes, maximum: maximum, allowsCompression: slot.flags.contains(.deflates)) {
            case .needsMore(let expected):
                keep(index, slot, &reader, region.count, expected, bytes)
                return
            case .message(let opcode, let byteCount):
                let target = unsafe scratch.room(for: byteCount)
                guard unsafe reader.copyMessage(bytes, into: target) else {
                    fail(index, slot, .invalidText)
                    break reading
                }
                let plain = unsafe UnsafeRawBufferPointer(rebasing: target[..<byteCount])
                do throws(CloseReason) {
                    let payload =
                        unsafe reader.isCompressed
                        ? try expanded(plain, opcode, maximum: maximum) : plain
                    if slot.state == .open { deliver(opcode, unsafe Span<UInt8>(_unsafeBytes: payload)) }
                } catch {
                    fail(index, slot, error)
                    break reading
                }
            case .ping(let payload):
                if slot.state == .open { deliver(.ping, payload.span) }
            case .pong(let payload): receivedPong(slot, payload)
            case .close(let code):
                receivedClose(index, slot, code)
                break reading
            case .failed(let reason):
                fail(index, slot, reason)
                break reading
            }
        }
        // Nothing more is read of this stream.
        freeReceiveChunk(slot)
        slot.reader = MessageReader()
        slot.flags.insert(.discards)
    }

    /// A pong with our last ping's payload tells how long both were on their way.
    private func receivedPong(_ slot: ArenaSlot, _ payload: [UInt8]) {
        let sentAt = slot.pingSentAt
        guard sentAt != 0, payload.count == 8, payload.reversed().reduce(0, { $0 << 8 | UInt64($1) }) == sentAt else {
            return
        }
        let roundTrip = unsafe loop.now - sentAt
        slot.pingSentAt = 0
        slot.roundTrip = UInt32(clamping: max(1, roundTrip / 1000))
        tally.counters[Timing.roundTrip].observe(roundTrip)
    }

    private func receivedClose(_ index: Int, _ slot: ArenaSlot, _ code: UInt16?) {
        if slot.closeCode == 0 { slot.closeCode = code ?? CloseLabel.noCode }
        slot.flags.insert(.closeReceived)
        if slot.state == .open {
            let payload = code.map { FrameEncoder.closePayload(code: $0, reason: "") } ?? []
            beginClosing(index, slot, payload: payload)
        } else if arena.queueCount(of: slot) == 0 {
            markGone(index)
        }
    }

    /// The peer broke the protocol: it is told why, and what it still sends is thrown away.
    private func fail(_ index: Int, _ slot: ArenaSlot, _ reason: CloseReason) {
        slot.flags.insert(.discards)
        if slot.closeCode == 0 { slot.closeCode = reason.code }
        if slot.state == .open {
            beginClosing(
                index,
                slot,
                payload: FrameEncoder.closePayload(code: reason.code, reason: reason.advice)
            )
        } else if arena.queueCount(of: slot) == 0 {
            markGone(index)
        }
    }

    // MARK: Keeping what is incomplete

    /// Keeps the bytes of an incomplete frame or message in a chunk of the connection's own.
    private func keep(
        _ index: Int,
        _ slot: ArenaSlot,
        _ reader: inout MessageReader,
        _ have: Int,
        _ expected: Int,
        _ bytes: RawSpan
    ) {
        if reader.isWorthMerging {
            merge(index, slot, &reader, have, bytes)
            return
        }
        let consumed = reader.consumed
        let rest = have - consumed
        reader.didDrop(consumed)
        slot.reader = reader
        if rest == 0 {
            freeReceiveChunk(slot)
            return
        }
        let needed = max(expected - consumed, rest + 1)
        if slot.receiveChunk != 0, Int(slot.receiveCapacity) > rest, consumed < have {
            // It fits where it is; move it to the front.
            if consumed > 0 {
                let chunk = unsafe arena.bytes(of: slot.receiveChunk, count: have)
                unsafe chunk.copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(chunk)[consumed...])
                )
            }
            slot.receiveLength = UInt32(rest)
            return
        }
        // Room grows with what really came, not with what a head promises.
        let capacity = min(needed, max(2 * rest, 4096))
        unsafe replaceReceiveChunk(index, slot, capacity: capacity, length: rest) { target in
            unsafe bytes.extracting(consumed...).withUnsafeBytes { unsafe target.copyMemory(from: $0) }
        }
    }

    private func merge(_ index: Int, _ slot: ArenaSlot, _ reader: inout MessageReader, _ have: Int, _ bytes: RawSpan) {
        let behind = reader.offset
        let merged = reader.mergedLength
        let length = merged + have - behind
        var copy = reader
        unsafe replaceReceiveChunk(index, slot, capacity: 2 * length, length: length) { target in
            unsafe copy.merge(bytes, into: target)
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: target[merged...])
            unsafe bytes.extracting(behind...).withUnsafeBytes { unsafe rest.copyMemory(from: $0) }
        }
        reader = copy
        slot.reader = copy
    }

    /// Puts a new chunk, filled by `fill`, in place of the connection's receive chunk.
    private func replaceReceiveChunk(
        _ index: Int,
        _ slot: ArenaSlot,
        capacity: Int,
        length: Int,
        _ fill: (UnsafeMutableRawBufferPointer) -> Void
    ) {
        guard let chunk = arena.allocate(capacity) else {
            markGone(index)
            return
        }
        unsafe fill(arena.bytes(of: chunk, count: length))
        let old = slot.receiveChunk
        slot.receiveLength = UInt32(length)
        slot.receiveCapacity = UInt32(arena.capacity(of: chunk))
        slot.receiveChunk = chunk
        if old != 0 { arena.free(old) }
    }

    private func freeReceiveChunk(_ slot: ArenaSlot) {
        guard slot.receiveChunk != 0 else { return }
        arena.free(slot.receiveChunk)
        slot.receiveChunk = 0
        slot.receiveLength = 0
    }
}
