// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import MartletLinux
import MartletWire
import Testing

@testable import MartletWorker

/// The client's end of a connection, which is closed at the end of its lifetime.
final class ClientEnd {
    private(set) var number: Int32

    init(_ descriptor: consuming OwnedDescriptor) { number = descriptor.release() }

    func close() {
        if number >= 0 { closeDescriptor(number) }
        number = -1
    }

    deinit { close() }
}

/// A socket table with real TCP sockets, and with an arena of the test.
final class Fixture {
    let loop: EventLoop
    let arena: Arena
    let table: SocketTable
    private let memory: UnsafeMutableRawBufferPointer

    init(
        queueBytes: Int = 100_000,
        slots: Int = 8,
        messageBytes: Int = 10_000,
        partialBytes: Int = .max
    ) throws {
        let layout = ArenaLayout(slotCount: slots, pageCount: 64)
        memory = .allocate(byteCount: layout.byteCount, alignment: 4096)
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        loop = try EventLoop()
        arena = try Arena(formatting: memory, layout: layout, shard: 0, generation: 1) { _, _ in }
        table = SocketTable(
            loop: loop,
            arena: arena,
            limits: .init(messageBytes: messageBytes, queueBytes: queueBytes, partialBytes: partialBytes),
            tally: Tally()
        )
    }

    deinit { memory.deallocate() }

    /// Makes a connected pair, and returns our slot and the client's end.
    func connect(leftover: [UInt8] = []) throws -> (slot: Int, client: ClientEnd) {
        let (listener, bound) = try Listener.open(.tcp(address: "127.0.0.1", port: 0))
        defer { closeDescriptor(listener) }
        let client = ClientEnd(try Listener.connect(to: bound))
        let accepted = try #require(try Listener.accept(listener)).descriptor
        if !leftover.isEmpty {
            try BlockingStream.write(client.number, leftover)
            var early: [UInt8] = []
            var ready = pollfd(fd: accepted, events: Int16(POLLIN), revents: 0)
            try #require(poll(&ready, 1, 5000) == 1)
            try #require(StreamSocket.receive(accepted, appendingTo: &early, room: 4096) == .moved(leftover.count))
        }
        let ticket = AdoptionTicket(
            destination: 0,
            source: 0,
            service: .messages,
            bearer: Bearer(user: "u"),
            accepted: .init(
                acceptValue: AcceptValue(forKey: Array("dGhlIHNhbXBsZSBub25jZQ==".utf8).span),
                subprotocol: nil
            ),
            bytesRead: UInt64(leftover.count),
            leftover: leftover
        )
        let slot = try table.adopt(accepted, ticket, id: ConnectionID("c"), now: 1)
        table.flushDirty()
        var answer: [UInt8] = []
        while !answer.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            answer += try BlockingStream.read(client.number, atMost: 1)
        }
        return (slot, client)
    }

    /// Queues texts, and returns the result of each send.
    func send(_ texts: [String], to slot: Int) throws -> [SendOutcome] {
        try texts.map { text in
            let frame = try table.prepare(Array(text.utf8).span)
            defer { table.release(frame) }
            return table.send(frame, to: slot)
        }
    }

    func receive(_ slot: Int) -> [String] {
        // One call receives as much as there is room for; epoll, or the end of a turn, would call again.
        var texts: [String] = []
        var position: UInt64
        repeat {
            position = arena.slot(slot).received.position
            let deliver = { (opcode: Opcode, payload: Span<UInt8>) in
                guard opcode != .ping else { return self.table.queue(.pong, payload, to: slot) }
                texts.append(String(decoding: payload.indices.map { payload[$0] }, as: UTF8.self))
            }
            receive(slot, { _, _ in true }, deliver)
        } while arena.slot(slot).received.position != position
        return texts
    }

    /// Receives once, and then reads what was put off.
    func receive(_ slot: Int, _ judge: SocketTable.Judge, _ deliver: SocketTable.Deliver) {
        table.receive(slot, judge, deliver)
        while let late = table.takeLater() { table.readLate(late, judge, deliver) }
    }
}

func frame(_ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true) -> [UInt8] {
    var head: [UInt8] = [(isFinal ? 0x80 : 0) | opcode]
    head +=
        payload.count < 126
        ? [0x80 | UInt8(payload.count)] : [0xFE, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
    return head + [1, 2, 3, 4] + payload.enumerated().map { $1 ^ UInt8($0 & 3 + 1) }
}
