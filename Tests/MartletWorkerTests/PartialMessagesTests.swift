// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletLinux
import MartletWire
import Testing

@testable import MartletWorker

/// The memory for unfinished messages is bounded, and returns to nothing.
@Suite struct PartialMessagesTests {
    /// A message of 60,000 bytes, without its end.
    private static let begun = Array(frame(1, [UInt8](repeating: 0x61, count: 60_000)).dropLast(1000))

    private func say(_ fixture: Fixture, _ slot: Int, _ client: ClientEnd, _ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let piece = Array(bytes[sent..<min(sent + 16384, bytes.count)])
            try BlockingStream.write(client.number, piece)
            sent += piece.count
            let until = fixture.arena.slot(slot).received.position + UInt64(piece.count)
            while fixture.table.isOpen(slot), fixture.arena.slot(slot).received.position < until {
                fixture.receive(slot, { _, _ in true }, { _, _ in })
            }
        }
    }

    @Test func `the connection that has held an unfinished message longest goes if there is no room`() throws {
        let fixture = try Fixture(messageBytes: 100_000, partialBytes: 300_000)
        let peers = try (0..<6).map { _ in try fixture.connect() }
        for peer in peers { try say(fixture, peer.slot, peer.client, Self.begun) }
        let open = peers.map { fixture.table.isOpen($0.slot) }
        let kept = open.count { $0 }
        #expect(kept >= 3 && kept < 6)
        #expect(open == Array(repeating: false, count: 6 - kept) + Array(repeating: true, count: kept), "\(open)")
        #expect(fixture.table.partialBytes <= 300_000 && fixture.table.partialCount == kept)
        #expect(fixture.table.takeRefused() == peers.prefix(6 - kept).map(\.slot))
        #expect(fixture.arena.slot(peers[0].slot).closeCode == CloseReason.tryAgainLater.code)
        // The other messages are completed.
        for peer in peers.suffix(kept) {
            try say(
                fixture,
                peer.slot,
                peer.client,
                Array(frame(1, [UInt8](repeating: 0x61, count: 60_000)).suffix(1000))
            )
            #expect(fixture.table.isOpen(peer.slot))
        }
        #expect(fixture.table.partialBytes == 0 && fixture.table.partialCount == 0)
    }

    @Test func `nothing is counted any more for a connection that is gone, whatever was under way`() throws {
        let fixture = try Fixture(messageBytes: 100_000)
        for round in 0..<300 {
            let (slot, client) = try fixture.connect()
            try say(fixture, slot, client, Self.begun)
            #expect(fixture.table.partialBytes > 0 && fixture.table.partialCount == 1)
            if round % 2 == 0 { fixture.table.discardReceived(slot) }
            fixture.table.markGone(slot)
            for index in fixture.table.takeGone() { fixture.table.release(index) }
            #expect(fixture.table.partialBytes == 0 && fixture.table.partialCount == 0)
        }
        #expect(fixture.table.partials.count < 100, "those that are over do not fill the queue")
    }

    @Test func `a message that is larger than the limit for all is refused, and nobody else because of it`() throws {
        let fixture = try Fixture(messageBytes: 100_000, partialBytes: 20_000)
        let (slot, client) = try fixture.connect()
        try say(fixture, slot, client, Self.begun)
        #expect(!fixture.table.isOpen(slot) && fixture.table.partialBytes == 0)
    }
}
