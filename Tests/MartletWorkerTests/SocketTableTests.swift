// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import MartletLinux
import MartletWire
import Testing

@testable import MartletWorker

@Suite(.serialized) struct SocketTableTests {
    @Test func `what is queued in one turn is sent in one write, in order`() throws {
        let fixture = try Fixture()
        let (slot, client) = try fixture.connect()
        #expect(try fixture.send((0..<20).map { "\($0)" }, to: slot).allSatisfy { $0 == .queued })
        fixture.table.flushDirty()
        let bytes = try BlockingStream.read(client.number, atMost: 4096)
        let expected = (0..<20).flatMap { number -> [UInt8] in
            let text = Array("\(number)".utf8)
            return [0x81, UInt8(text.count)] + text
        }
        #expect(bytes == expected)
        #expect(fixture.table.queuedBytes == 0)
        #expect(fixture.arena.slot(slot).sentPosition > UInt64(expected.count), "the 101 answer counts too")
        #expect(fixture.arena.slot(slot).headPosition == fixture.arena.slot(slot).sentPosition)
    }

    @Test func `a full socket buffer keeps the rest in the arena, and nothing is torn`() throws {
        let fixture = try Fixture(queueBytes: 50_000_000)
        let (slot, client) = try fixture.connect()
        let text = String(repeating: "x", count: 60_000)
        #expect(try fixture.send(Array(repeating: text, count: 200), to: slot).allSatisfy { $0 == .queued })
        fixture.table.flushDirty()
        #expect(fixture.table.queuedBytes > 0 && fixture.table.locals[slot].watchesWritable)
        var received = 0
        let total = 200 * 60_004
        while received < total {
            received += try BlockingStream.read(client.number, atMost: 1 << 20).count
            fixture.table.flush(slot)
        }
        #expect(received == total)
        #expect(fixture.table.queuedBytes == 0 && !fixture.table.locals[slot].watchesWritable)
    }

    @Test func `a queue at its bound refuses, and closing for slowness frees what was not begun`() throws {
        let fixture = try Fixture(queueBytes: 1_000_000)
        let (slot, client) = try fixture.connect()
        let text = String(repeating: "x", count: 60_000)
        var outcomes: [SendOutcome] = [.queued]
        for _ in 0..<1000 where outcomes == [.queued] {
            outcomes = try fixture.send([text], to: slot)
            fixture.table.flushDirty()
        }
        #expect(outcomes == [.failed(.queueFull)])
        fixture.table.close(slot, code: CloseReason.tooSlow.code, reason: "slow")
        #expect(fixture.table.queuedBytes < 61_000 + 10, "only the frame that was begun, and the close frame")
        #expect(fixture.table.tally.counters[.messagesDropped] > 10)
        #expect(try fixture.send(["late"], to: slot) == [.failed(.closed)])
        // The stream ends at the end of a frame: the close frame.
        var bytes: [UInt8] = []
        while !bytes.suffix(8).elementsEqual([0x88, 6, 0x11, 0x9C] + Array("slow".utf8)) {
            bytes += try BlockingStream.read(client.number, atMost: 1 << 20)
            fixture.table.flush(slot)
        }
        #expect((bytes.count - 8) % 60_004 == 0)
    }

    @Test func `a flood of pings whose answers are not read is bounded by memory, not by bytes`() throws {
        let fixture = try Fixture(queueBytes: 100_000)
        let (slot, client) = try fixture.connect()
        let text = String(repeating: "x", count: 60_000)
        while try fixture.send([text], to: slot) == [.queued] { fixture.table.flushDirty() }  // the socket is full
        for _ in 0..<200 where fixture.table.isOpen(slot) {
            try BlockingStream.write(client.number, (0..<50).flatMap { _ in frame(9, []) })
            _ = fixture.receive(slot)
        }
        #expect(!fixture.table.isOpen(slot))
        #expect(fixture.arena.chunkBytesInUse < 400_000)
    }

    @Test func `messages arrive whole however their bytes are cut, and an idle connection keeps no buffer`() throws {
        let fixture = try Fixture()
        let (slot, client) = try fixture.connect()
        let large = String(repeating: "y", count: 5000)
        let stream =
            frame(1, Array("one".utf8)) + frame(1, Array(large.utf8)) + frame(1, Array("t".utf8), isFinal: false)
            + frame(9, [1]) + frame(0, Array("wo".utf8))
        for size in [1, 2, 7, 100, 4000, stream.count] {
            var texts: [String] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                try BlockingStream.write(client.number, Array(stream[start..<min(start + size, stream.count)]))
                texts += fixture.receive(slot)
            }
            #expect(texts == ["one", large, "two"], "pieces of \(size)")
            #expect(fixture.arena.slot(slot).received.chunk == 0)
        }
        #expect(fixture.arena.slot(slot).received.position == UInt64(6 * stream.count))
    }

    @Test func `bytes that came after the head are read first`() throws {
        let fixture = try Fixture()
        let early = frame(1, Array("early".utf8))
        let (slot, client) = try fixture.connect(leftover: Array(early.dropLast(2)))
        var texts: [String] = []
        fixture.table.readReceived(slot, { _, _ in true }) { _, payload in texts.append("\(payload.count)") }
        #expect(texts == [])
        try BlockingStream.write(client.number, Array(early.suffix(2)))
        #expect(fixture.receive(slot) == ["early"])
    }

    @Test func `a close is answered with its code, and the socket is over when that was sent`() throws {
        let fixture = try Fixture()
        let (slot, client) = try fixture.connect()
        try BlockingStream.write(client.number, frame(8, [0x0F, 0xA1]))
        #expect(fixture.receive(slot) == [])
        #expect(!fixture.table.isOpen(slot))
        fixture.table.flushDirty()
        #expect(try BlockingStream.read(client.number, atMost: 100) == [0x88, 2, 0x0F, 0xA1])
        #expect(fixture.table.takeGone() == [slot])
        fixture.table.release(slot)
        #expect(try BlockingStream.read(client.number, atMost: 100) == [], "the connection ends cleanly")
        #expect(fixture.arena.slotsInUse == 0 && fixture.arena.chunkBytesInUse == 0)
    }

    @Test func `broken frames are answered with 1002, then everything is ignored until the peer leaves`() throws {
        let fixture = try Fixture()
        let (slot, client) = try fixture.connect()
        try BlockingStream.write(client.number, [0xFF, 0xFF, 0xFF])
        #expect(fixture.receive(slot) == [])
        fixture.table.flushDirty()
        #expect(try BlockingStream.read(client.number, atMost: 4).starts(with: [0x88]))
        try BlockingStream.write(client.number, frame(1, Array("still here".utf8)))
        #expect(fixture.receive(slot) == [])
        #expect(fixture.table.takeGone() == [])
        client.close()
        #expect(fixture.receive(slot) == [])
        #expect(fixture.table.takeGone() == [slot])
    }

    @Test func `a peer that does not answer a close frame is cut off when its time is over`() throws {
        let fixture = try Fixture()
        let (slot, _) = try fixture.connect()
        fixture.table.close(slot, code: 1000, reason: "")
        let deadline = try #require(fixture.table.closing.earliest)
        #expect(fixture.table.sweep(now: deadline - 1) == deadline)
        #expect(fixture.table.takeGone() == [])
        #expect(fixture.table.sweep(now: deadline) == nil)
        #expect(fixture.table.takeGone() == [slot])
    }

    @Test func `a table without a vacant slot accepts nobody, and its caller keeps the socket`() throws {
        let fixture = try Fixture(slots: 1)
        let (_, client) = try fixture.connect()
        let (listener, bound) = try Listener.open(.tcp(address: "127.0.0.1", port: 0))
        let other = ClientEnd(try Listener.connect(to: bound))
        let one = try #require(try Listener.accept(listener)).descriptor
        defer { for end in [one, listener] { closeDescriptor(end) } }
        let ticket = AdoptionTicket(
            destination: 0,
            source: 0,
            service: .messages,
            bearer: Bearer(user: "u"),
            accepted: .init(
                acceptValue: AcceptValue(forKey: Array("dGhlIHNhbXBsZSBub25jZQ==".utf8).span),
                subprotocol: nil
            ),
            bytesRead: 0,
            leftover: []
        )
        #expect(throws: SocketTable.Refusal.full) {
            try fixture.table.adopt(one, ticket, id: ConnectionID("d"), now: 1)
        }
        #expect(fcntl(one, F_GETFD) >= 0)
        _ = (client.number, other.number)
    }

    @Test func `a socket whose bytes the kernel counts differently is not accepted`() throws {
        let fixture = try Fixture()
        let (listener, bound) = try Listener.open(.tcp(address: "127.0.0.1", port: 0))
        let client = ClientEnd(try Listener.connect(to: bound))
        let accepted = try #require(try Listener.accept(listener)).descriptor
        defer { for end in [accepted, listener] { closeDescriptor(end) } }
        let ticket = AdoptionTicket(
            destination: 0,
            source: 0,
            service: .messages,
            bearer: Bearer(user: "u"),
            accepted: .init(
                acceptValue: AcceptValue(forKey: Array("dGhlIHNhbXBsZSBub25jZQ==".utf8).span),
                subprotocol: nil
            ),
            bytesRead: 7,
            leftover: []
        )
        #expect(throws: SocketTable.Refusal.miscounted) {
            try fixture.table.adopt(accepted, ticket, id: ConnectionID("d"), now: 1)
        }
        #expect(fixture.arena.slotsInUse == 0)
        _ = client.number
    }

    @Test func `urgent bytes are read as a part of the stream, and the kernel counts what was read`() throws {
        let fixture = try Fixture()
        let (slot, client) = try fixture.connect()
        // The last byte of each message is sent as urgent data; without SO_OOBINLINE it would be skipped.
        for number in 0..<20 {
            let bytes = frame(1, Array("urgent \(number)".utf8))
            try BlockingStream.write(client.number, Array(bytes.dropLast()))
            var last = bytes.suffix(1).first ?? 0
            #expect(Glibc.send(client.number, &last, 1, Int32(MSG_OOB)) == 1)
        }
        var texts: [String] = []
        while texts.count < 20 {
            var ready = pollfd(fd: fixture.table.locals[slot].descriptor, events: Int16(POLLIN), revents: 0)
            try #require(poll(&ready, 1, 5000) == 1)
            texts += fixture.receive(slot)
        }
        #expect(texts == (0..<20).map { "urgent \($0)" })
        let stream = try #require(KernelStream(of: fixture.table.locals[slot].descriptor))
        #expect(stream.read == fixture.arena.slot(slot).received.position)
    }

    @Test func `bytes that were received and handled are not in memory into which others receive`() throws {
        let fixture = try Fixture()
        let (slot, client) = try fixture.connect()
        let text = frame(1, Array(String(repeating: "s", count: 3000).utf8))
        try BlockingStream.write(client.number, text + text.prefix(2000))
        #expect(fixture.receive(slot).count == 1)
        #expect(fixture.arena.landing.allSatisfy { $0 == 0 })
        let kept = fixture.arena.slot(slot).received
        let chunk = fixture.arena.bytes(of: kept.chunk, count: Int(kept.capacity))
        #expect(kept.capacity > kept.length && chunk[Int(kept.length)...].allSatisfy { $0 == 0 })
        try BlockingStream.write(client.number, Array(text.dropFirst(2000)))
        #expect(fixture.receive(slot).count == 1)
        // Another connection has the chunk now.
        let (other, second) = try fixture.connect()
        try BlockingStream.write(second.number, Array(text.prefix(2000)))
        #expect(fixture.receive(other) == [])
        let next = fixture.arena.slot(other).received
        let again = fixture.arena.bytes(of: next.chunk, count: Int(next.capacity))
        #expect(again[Int(next.length)...].allSatisfy { $0 == 0 })
    }
}

@Suite struct EventTokenTests {
    @Test func `a token survives the kernel, and an older generation is another token`() throws {
        let token = EventToken(.socket, index: 0xFFFF_FFFF, generation: 0xAB_CDEF)
        #expect(try #require(EventToken(token.rawValue)) == token)
        #expect(EventToken(.socket, index: 1, generation: 0x1FF_FFFF).generation == 0xFF_FFFF)
        #expect(EventToken(0) == nil && EventToken(.max) == nil)
    }
}

@Suite struct DeadlineQueueTests {
    @Test func `what is not wanted any more is removed, and the rest is due in its order`() {
        var queue = DeadlineQueue()
        for index in 0..<100 { queue.append(index, 0, deadline: UInt64(index)) }
        for index in 0..<10 { #expect(queue.popDue(now: 50)?.index == index) }
        queue.removeAll(unless: { index, _ in index.isMultiple(of: 7) })
        #expect(queue.count == 13 && queue.earliest == 14)
        var seen: [Int] = []
        queue.forEach { index, _ in
            seen.append(index)
            return seen.count < 3
        }
        #expect(seen == [14, 21, 28])
        #expect(queue.popDue(now: 14)?.index == 14)
        #expect(queue.popDue(now: 20)?.index == nil)
    }

    @Test func `the first in is the first due`() {
        var queue = DeadlineQueue()
        for number in 0..<10_000 { queue.append(number, UInt32(number), deadline: UInt64(number)) }
        #expect(queue.popDue(now: 0)?.index == 0)
        #expect(queue.popDue(now: 0) == nil)
        for number in 1..<10_000 { #expect(queue.popDue(now: 10_000)?.index == number) }
        #expect(queue.earliest == nil)
    }
}
