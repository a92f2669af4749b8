// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

extension SocketTable {
    /// Called for each message of an open connection, with its length on the wire; returns false if it is not handled.
    ///
    /// The call comes before anything is done for the message. It also comes for pings, for unsolicited pongs, and, as
    /// `continuation`, for every so many fragments (``SocketTable/fragmentsPerEvent``).
    typealias Judge = (Opcode, Int) -> Bool
    /// Called with each message that is handled: whole, expanded and unmasked; the bytes are valid during the call.
    typealias Deliver = (Opcode, Span<UInt8>) -> Void

    /// Reads from a socket, and delivers each message of an open connection.
    ///
    /// A connection gets no more than a ``LaterQueue/slice`` of a turn, and an expensive message is not handled at
    /// once: the rest waits in ``later``, and nothing more is received from that connection until it has been read.
    func receive(_ index: Int, _ judge: Judge, _ deliver: Deliver) {
        if locals[index].isPutOff { return }
        let slot = arena.slot(index)
        let isInLanding = slot.received.chunk == 0
        let target = unsafe isInLanding ? arena.landing : receiveTail(slot.received)
        guard let start = target.baseAddress, target.count > 0 else {
            markGone(index)
            return
        }
        arena.journal.beginReceiving(index)
        let outcome = unsafe StreamSocket.receive(locals[index].descriptor, start, target.count)
        if case .moved(let count) = outcome {
            Fault.at(.received)
            record(count, slot)
        }
        arena.journal.endReceiving()
        switch outcome {
        case .wouldBlock: return
        case .ended, .failed: markGone(index)
        case .moved(let count):
            if !slot.flags.contains(.discards) {
                read(index, slot, slot.received, isLate: false, judge: judge, deliver)
            } else if slot.flags.contains(.events) {
                // It has one answer, without an end, and asks for more.
                close(index, .badRequest)
            }
            if isInLanding { arena.clearLanding(count) }
        }
    }

    /// Records in the slot what was received.
    private func record(_ count: Int, _ slot: ArenaSlot) {
        var buffer = slot.received
        buffer.position += UInt64(count)
        slot.lastReceived = unsafe loop.now
        if !slot.flags.contains(.discards) {
            buffer.length += UInt32(count)
            if buffer.chunk == 0 { buffer.chunk = ArenaSlot.ReceiveBuffer.landing }
        }
        slot.received = buffer
    }

    /// Reads what is already in the arena because it came after the HTTP head.
    func readReceived(_ index: Int, _ judge: Judge, _ deliver: Deliver) {
        let slot = arena.slot(index)
        if slot.received.chunk != 0 { read(index, slot, slot.received, isLate: false, judge: judge, deliver) }
    }

    /// Returns true if something has arrived that was not read yet.
    func hasUnread(_ index: Int) -> Bool {
        locals[index].isPutOff || StreamSocket.unreadBytes(locals[index].descriptor) > 0
    }

    /// Puts off reading from a connection until later, after others.
    func putOff(_ index: Int) {
        if locals[index].isPutOff { return }
        locals[index].isPutOff = true
        later.append(index, locals[index].generation)
    }

    /// Takes the connection that was put off first; nil if there is none, or it is gone.
    func takeLater() -> Int? {
        guard let (index, generation) = later.popFirst(), isCurrent(index, generation: generation & 0xFF_FFFF),
            locals[index].isPutOff
        else { return nil }
        locals[index].isPutOff = false
        return index
    }

    /// Reads from a connection that was put off: first what was already received, then what can be received now.
    func readLate(_ index: Int, _ judge: Judge, _ deliver: Deliver) {
        let slot = arena.slot(index)
        if slot.received.chunk != 0 { read(index, slot, slot.received, isLate: true, judge: judge, deliver) }
        if !locals[index].isGone { receive(index, judge, deliver) }
    }

    /// Discards what was received, and everything that is still to come.
    func discardReceived(_ index: Int) {
        let slot = arena.slot(index)
        slot.flags.insert(.discards)
        freeReceiveChunk(index, slot)
    }

    /// Returns the bytes that are not handled yet.
    private func region(_ buffer: ArenaSlot.ReceiveBuffer) -> UnsafeRawBufferPointer {
        let isLanding = buffer.chunk == ArenaSlot.ReceiveBuffer.landing
        let whole = unsafe isLanding ? arena.landing : arena.bytes(of: buffer.chunk, count: Int(buffer.length))
        return unsafe UnsafeRawBufferPointer(rebasing: whole[Int(buffer.handled)..<Int(buffer.length)])
    }

    /// Returns the free end of a connection's own receive chunk.
    private func receiveTail(_ buffer: ArenaSlot.ReceiveBuffer) -> UnsafeMutableRawBufferPointer {
        let whole = unsafe arena.bytes(of: buffer.chunk, count: Int(buffer.capacity))
        return unsafe UnsafeMutableRawBufferPointer(rebasing: whole[Int(buffer.length)...])
    }

    /// Returns true if a previous worker has ended while it handled the message that is being handled now.
    ///
    /// It may have done everything but the last step, which makes it count.
    func isRepeated(_ index: Int) -> Bool { arena.slot(index).attempts > 0 }

    // MARK: Reading messages

    /// How many fragments count as a message.
    static let fragmentsPerEvent = 64

    private func read(
        _ index: Int,
        _ slot: ArenaSlot,
        _ buffer: ArenaSlot.ReceiveBuffer,
        isLate: Bool,
        judge: Judge,
        _ deliver: Deliver
    ) {
        let bytes = unsafe RawSpan(_unsafeBytes: region(buffer))
        let maximum = slot.flags.contains(.echo) ? Limits.echoMessageBytes : limits.messageBytes
        var reader = slot.reader
        var isOver = false
        var share = Share()
        while !isOver, !locals[index].isGone {
            var before = reader
            let event = reader.next(bytes, maximum: maximum, allowsCompression: slot.flags.contains(.deflates))
            let fragments = reader.fragments == 0 ? 0 : reader.takeFragments()
            if case .needsMore(let expected) = event {
                if fragments > 0 { judgeFragments(index, slot, fragments, judge) }
                keep(index, slot, &reader, buffer, expecting: expected, of: bytes)
                return
            }
            if share.isSpent(event, isCompressed: reader.isCompressed, wasDear: takeDear())
                || (!isLate && slot.state == .open && Self.isDear(event, reader))
            {
                putOff(index)
                keep(index, slot, &before, buffer, expecting: 0, of: bytes)
                return
            }
            if fragments > 0 { judgeFragments(index, slot, fragments, judge) }
            // A successor handles this message again if we do not come to the end of it.
            arena.journal.beginHandling(index, slot, handled: Int(slot.received.handled))
            isOver = handle(
                event,
                &reader,
                of: index,
                slot,
                in: bytes,
                maximum: maximum,
                judge: judge,
                deliver: deliver
            )
            let handled = Int(buffer.handled) + reader.consumed
            // A ping between the fragments of a message does not clear the message of blame.
            if slot.attempts != 0, handled != Int(slot.received.handled) { slot.attempts = 0 }
            slot.markHandled(handled)
            arena.journal.endHandling()
        }
        // Nothing more is read from this stream.
        freeReceiveChunk(index, slot)
        slot.reader = MessageReader()
        slot.flags.insert(.discards)
    }

    /// Notes that the message that is being handled takes much more time than its bytes say.
    func noteDear() { hasDear = true }

    private func takeDear() -> Bool {
        defer { hasDear = false }
        return hasDear
    }

    /// How much of a turn one connection has had.
    private struct Share {
        /// How many bytes of messages may be handled before the clock is read again.
        private static let bytesPerReading = 4096
        /// What a message counts besides its bytes.
        private static let bytesPerMessage = 256

        /// How many bytes were handled since the clock was read; nil: no message was.
        private var bytes: Int?
        private var end: UInt64?

        /// Counts a message that is to be handled; returns true if the connection has had its slice of the turn.
        ///
        /// The clock is read only if there is more than one message, and not for each of many small ones.
        ///
        /// `wasDear` means that the message before took much more time than its bytes say.
        mutating func isSpent(_ event: MessageReader.Event, isCompressed: Bool, wasDear: Bool) -> Bool {
            var size = Self.bytesPerMessage
            // A few compressed bytes may become very many.
            if case .message(_, let byteCount) = event { size += isCompressed ? Self.bytesPerReading : byteCount }
            defer { bytes = (bytes ?? 0) + size }
            guard let handled = bytes, end == nil || wasDear || handled >= Self.bytesPerReading else { return false }
            bytes = 0
            let now = Clock.monotonicNanoseconds()
            guard let end else {
                self.end = now + LaterQueue.slice
                return false
            }
            return now >= end
        }
    }

    /// Returns true if a message may take so long that it should not delay others in this turn.
    ///
    /// A few compressed bytes may expand to a thousand times as many (RFC 1951).
    private static func isDear(_ event: MessageReader.Event, _ reader: MessageReader) -> Bool {
        guard case .message(_, let byteCount) = event else { return false }
        return byteCount > (reader.isCompressed ? 256 : 16384)
    }

    /// Handles one event of the stream; returns true if it is the stream's last.
    private func handle(
        _ event: MessageReader.Event,
        _ reader: inout MessageReader,
        of index: Int,
        _ slot: ArenaSlot,
        in bytes: RawSpan,
        maximum: Int,
        judge: Judge,
        deliver: Deliver
    ) -> Bool {
        switch event {
        case .needsMore: return false
        case .message(let opcode, let byteCount):
            if opcode == .text, slot.state == .open, slot.flags.contains(.session) {
                slot.messagesReceived &+= 1
                slot.flags.insert(.tokenArrived)
            }
            guard slot.state == .open, judge(opcode, byteCount) else {
                reader.skipMessage()
                return false
            }
            let target = unsafe scratch.room(for: byteCount)
            guard unsafe reader.copyMessage(bytes, into: target) else {
                fail(index, slot, .invalidText)
                return true
            }
            let plain = unsafe UnsafeRawBufferPointer(rebasing: target[..<byteCount])
            do throws(CloseReason) {
                let payload =
                    unsafe reader.isCompressed
                    ? try expanded(plain, opcode, maximum: maximum) : plain
                deliver(opcode, unsafe Span<UInt8>(_unsafeBytes: payload))
            } catch {
                fail(index, slot, error)
                return true
            }
        case .ping(let payload):
            if slot.state == .open, judge(.ping, payload.count) { deliver(.ping, payload.span) }
        case .pong(let payload):
            if !receivedPong(slot, payload), slot.state == .open { _ = judge(.pong, payload.count) }
        case .close(let code):
            receivedClose(index, slot, code)
            return true
        case .failed(let reason):
            fail(index, slot, reason)
            return true
        }
        return false
    }

    /// Counts fragments towards the rate, because they cost us as much as messages do.
    private func judgeFragments(_ index: Int, _ slot: ArenaSlot, _ count: Int, _ judge: Judge) {
        var fragments = Int(locals[index].fragments) + count
        while fragments >= Self.fragmentsPerEvent {
            fragments -= Self.fragmentsPerEvent
            if slot.state == .open { _ = judge(.continuation, Self.fragmentsPerEvent) }
        }
        locals[index].fragments = UInt16(fragments)
    }

    /// Measures the round-trip time if a pong has our last ping's payload; returns false if it is another pong.
    private func receivedPong(_ slot: ArenaSlot, _ payload: [UInt8]) -> Bool {
        let sentAt = slot.pingSentAt
        guard sentAt != 0, payload.count == 8, payload.reversed().reduce(0, { $0 << 8 | UInt64($1) }) == sentAt else {
            return false
        }
        let roundTrip = unsafe loop.now - sentAt
        slot.pingSentAt = 0
        slot.roundTrip = UInt32(clamping: max(1, roundTrip / 1000))
        tally.counters.observe(.roundTrip, roundTrip)
        return true
    }

    private func receivedClose(_ index: Int, _ slot: ArenaSlot, _ code: UInt16?) {
        if slot.closeCode == 0 { slot.closeCode = code ?? CloseLabel.noCode }
        slot.flags.insert(.closeReceived)
        if slot.state == .open {
            if CloseReason.leavesSession(fromClient: code) { letSessionWait(index) }
            let payload = code.map { FrameEncoder.closePayload(code: $0, reason: "") } ?? []
            beginClosing(index, slot, payload: payload)
        } else if arena.queueCount(of: slot) == 0 {
            markGone(index)
        }
    }

    /// Tells a peer that broke the protocol why the connection ends, and discards what it still sends.
    func fail(_ index: Int, _ slot: ArenaSlot, _ reason: CloseReason) {
        slot.flags.insert(.discards)
        if slot.closeCode == 0 { slot.closeCode = reason.code }
        if slot.state == .open {
            if reason.leavesSession { letSessionWait(index) }
            beginClosing(
                index,
                slot,
                payload: FrameEncoder.closePayload(code: reason.code, reason: reason.advice)
            )
        } else if arena.queueCount(of: slot) == 0 {
            markGone(index)
        }
    }
}
