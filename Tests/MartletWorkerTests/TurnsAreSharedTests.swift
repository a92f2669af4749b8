// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import MartletLinux
import MartletWire
import Testing

@testable import MartletWorker

/// No connection gets more than a share of a turn, and nothing is done for a message that is not handled.
@Suite(.serialized) struct TurnsAreSharedTests {
    @Test func `a message that is refused, or comes too late, is neither copied nor expanded nor read`() throws {
        let fixture = try Fixture(messageBytes: 1 << 20)
        let (slot, client) = try fixture.connect()
        fixture.arena.slot(slot).flags.insert(.deflates)
        // It is marked as compressed (RSV1), but is malformed: expanding it would close the connection.
        let nonsense = [0xC1] + frame(1, [7, 7, 7, 7, 7]).dropFirst()
        try BlockingStream.write(client.number, nonsense + frame(1, Array("fine".utf8)))
        var judged: [Int] = []
        var texts: [String] = []
        fixture.receive(
            slot,
            { _, byteCount in
                judged.append(byteCount)
                return byteCount == 4
            },
            { texts.append(String(decoding: $1.indices.map { [payload = $1] in payload[$0] }, as: UTF8.self)) }
        )
        #expect(judged == [5, 4] && texts == ["fine"] && fixture.table.isOpen(slot))
        fixture.table.close(slot, code: 1000, reason: "")
        try BlockingStream.write(client.number, nonsense + frame(8, [0x03, 0xE8]))
        fixture.receive(slot, { _, _ in true }, { _, _ in Issue.record("nobody hears it") })
        #expect(fixture.arena.slot(slot).closeCode == 1000 && fixture.arena.slot(slot).flags.contains(.closeReceived))
    }

    @Test func `expensive messages wait for the end of the turn, and nothing more of their sender is received`() throws
    {
        let fixture = try Fixture(messageBytes: 1 << 20)
        let (first, firstClient) = try fixture.connect()
        let (second, secondClient) = try fixture.connect()
        let dear = frame(1, Array(String(repeating: "d", count: 20_000).utf8))
        try BlockingStream.write(firstClient.number, frame(1, [0x61]) + dear + frame(1, [0x62]))
        try BlockingStream.write(secondClient.number, frame(1, [0x63]))
        var heard: [Int] = []
        let deliver = { (_: Opcode, payload: Span<UInt8>) in heard.append(payload.count) }
        for slot in [first, second] {
            var ready = pollfd(fd: fixture.table.locals[slot].descriptor, events: Int16(POLLIN), revents: 0)
            try #require(poll(&ready, 1, 5000) == 1)
        }
        fixture.table.receive(first, { _, _ in true }, deliver)
        #expect(heard == [1] && fixture.table.later.count == 1)
        try BlockingStream.write(firstClient.number, frame(1, [0x64]))
        let position = fixture.arena.slot(first).received.position
        fixture.table.receive(first, { _, _ in true }, deliver)
        #expect(fixture.arena.slot(first).received.position == position)
        fixture.table.receive(second, { _, _ in true }, deliver)
        #expect(heard == [1, 1])
        // Now it is read: first what had already come, then what has come since.
        while heard.count < 5 {
            let late = try #require(fixture.table.takeLater())
            fixture.table.readLate(late, { _, _ in true }, deliver)
        }
        #expect(heard == [1, 1, 20_000, 1, 1])
    }

    @Test func `many messages of one client at once are read in shares, in order, and completely`() throws {
        let fixture = try Fixture()
        let (slot, client) = try fixture.connect()
        let many = (0..<3000).flatMap { frame(1, Array("\($0)".utf8)) }
        try BlockingStream.write(client.number, many)
        var texts: [String] = []
        var shares = 0
        let deliver = { (_: Opcode, payload: Span<UInt8>) in
            // This is as expensive as the handling of a message can be.
            let until = Clock.monotonicNanoseconds() + 20_000
            while Clock.monotonicNanoseconds() < until {}
            texts.append(String(decoding: payload.indices.map { payload[$0] }, as: UTF8.self))
        }
        while texts.count < 3000 {
            fixture.table.receive(slot, { _, _ in true }, deliver)
            while let late = fixture.table.takeLater() {
                shares += 1
                fixture.table.readLate(late, { _, _ in true }, deliver)
            }
        }
        #expect(texts == (0..<3000).map { "\($0)" } && shares >= 3000 * 20 / 2000)
    }
}
