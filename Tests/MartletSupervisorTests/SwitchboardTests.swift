// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire
import Testing

@testable import MartletSupervisor

/// Every request gets one answer, from whoever it was meant for.
@Suite struct SwitchboardTests {
    private let receipt = CommandReply.receipt(Delivery(matched: 2, delivered: 2, failed: 0))

    @Test func `a request goes to the shard that it names, from the shard that really asks, and its reply back`() throws
    {
        let fixture = try ShardFixture()
        let user = try fixture.user(of: 1)
        let key = try fixture.ask(Request(.sendToUser(user)), from: 0, to: 1, text: "{}")
        let asked = try fixture.sent(to: 1)
        #expect(asked.count == 1 && asked[0].header.source == 0 && asked[0].header.correlation == key.correlation)
        #expect(asked[0].request?.command == .sendToUser(user) && asked[0].payload.suffix(2) == Array("{}".utf8))
        try fixture.reply(receipt, from: 1, to: key)
        let answers = try fixture.sent(to: 0)
        #expect(answers.map(\.reply) == [receipt] && answers[0].header.correlation == key.correlation)
    }

    @Test func `nobody answers for another shard, or twice`() throws {
        let fixture = try ShardFixture(shards: 3)
        let key = try fixture.ask(Request(.sendToUser(try fixture.user(of: 1))), from: 0, to: 1)
        try fixture.reply(receipt, from: 2, to: key)
        #expect(try fixture.sent(to: 0).isEmpty)
        try fixture.reply(receipt, from: 1, to: key)
        try fixture.reply(receipt, from: 1, to: key)
        #expect(try fixture.sent(to: 0).count == 1)
    }

    @Test func `what nobody answers is answered when its time is over, and a reply that comes later is not passed on`()
        throws
    {
        let fixture = try ShardFixture()
        let key = try fixture.ask(Request(.sendToUser(try fixture.user(of: 1))), from: 0, to: 1)
        #expect(fixture.switchboard.nextDeadline == Switchboard.patience)
        fixture.switchboard.expire(now: Switchboard.patience)
        #expect(try fixture.sent(to: 0).map(\.reply) == [.failed(.shardUnavailable(partial: nil))])
        try fixture.reply(receipt, from: 1, to: key)
        #expect(try fixture.sent(to: 0).isEmpty && fixture.switchboard.nextDeadline == nil)
    }

    @Test func `a shard without a worker is asked nothing, and a shard that recovers gets it from the next worker`()
        throws
    {
        let fixture = try ShardFixture()
        let request = Request(.sendToUser(try fixture.user(of: 1)))
        fixture.end(fixture[1], leaves: false)
        try fixture.ask(request, from: 0, to: 1, number: 1)
        #expect(try fixture.sent(to: 0).map(\.reply) == [.failed(.shardUnavailable(partial: nil))])
        #expect(fixture.switchboard.refused == 1)
        try fixture.start(fixture[1])
        fixture.end(fixture[1], leaves: true)
        #expect(fixture[1].state == .recovering)
        let key = try fixture.ask(request, from: 0, to: 1, number: 2)
        #expect(try fixture.sent(to: 0).isEmpty)
        try fixture.start(fixture[1])
        fixture.switchboard.resend(to: fixture[1])
        #expect(try fixture.sent(to: 1).map(\.header.correlation) == [key.correlation])
        try fixture.reply(receipt, from: 1, to: key)
        #expect(try fixture.sent(to: 0).map(\.reply) == [receipt])
    }

    @Test func `whoever waits for a shard that is gone is told`() throws {
        let fixture = try ShardFixture()
        try fixture.ask(Request(.sendToUser(try fixture.user(of: 1))), from: 0, to: 1)
        fixture.switchboard.shardFailed(1)
        #expect(try fixture.sent(to: 0).map(\.reply) == [.failed(.shardUnavailable(partial: nil))])
    }

    @Test func `a worker that stands still gets nothing until it goes on`() throws {
        let fixture = try ShardFixture()
        _ = fixture[1].custody.heard(.froze)
        let key = try fixture.ask(Request(.sendToUser(try fixture.user(of: 1))), from: 0, to: 1)
        #expect(try fixture.sent(to: 1).isEmpty)
        _ = fixture[1].custody.heard(.thawed)
        fixture.switchboard.resend(to: fixture[1])
        #expect(try fixture.sent(to: 1).map(\.header.correlation) == [key.correlation])
    }

    @Test func `a broadcast goes to all shards, or to none, and its receipts are added up`() throws {
        let fixture = try ShardFixture(shards: 3)
        let key = try fixture.ask(Request(.broadcast(excluding: [])), from: 0, to: PeerAddress.everyShard, number: 1)
        for shard in 0..<3 { #expect(try fixture.sent(to: shard).count == 1) }
        for shard in 0..<3 { try fixture.reply(receipt, from: shard, to: key) }
        let sum = CommandReply.receipt(Delivery(matched: 6, delivered: 6, failed: 0))
        #expect(try fixture.sent(to: 0).map(\.reply) == [sum])
        fixture.end(fixture[2], leaves: false)
        try fixture.ask(Request(.broadcast(excluding: [])), from: 0, to: PeerAddress.everyShard, number: 2)
        #expect(try fixture.sent(to: 0).map(\.reply) == [.failed(.shardUnavailable(partial: nil))])
        #expect(try fixture.sent(to: 1).isEmpty)
    }

    @Test func `a message to a room goes to the shards that have members, and to nobody where there are none`() throws {
        let fixture = try ShardFixture(shards: 3)
        let room = Room.thread("t")
        let changes = RoomChanges([RoomChange(room: room, isOccupied: true)])
        fixture.switchboard.note(changes, from: fixture[1], correlation: 7)
        #expect(try fixture.sent(to: 1).map(\.header.kind) == [.roomsNoted])
        let key = try fixture.ask(Request(.sendToRoom(room)), from: 0, to: PeerAddress.room, number: 1)
        #expect(try fixture.sent(to: 1).count == 1 && fixture.sent(to: 0).isEmpty && fixture.sent(to: 2).isEmpty)
        try fixture.reply(receipt, from: 1, to: key)
        #expect(try fixture.sent(to: 0).map(\.reply) == [receipt])
        try fixture.ask(Request(.sendToRoom(.thread("empty"))), from: 0, to: PeerAddress.room, number: 2)
        #expect(try fixture.sent(to: 0).map(\.reply) == [.receipt(Delivery())])
    }

    @Test func `all rooms of a worker count when the last piece is here`() throws {
        let fixture = try ShardFixture()
        let (old, new) = (Room.thread("old"), Room.thread("new"))
        func rooms(_ room: Room) -> RoomChanges { RoomChanges([RoomChange(room: room, isOccupied: true)]) }
        fixture.switchboard.note(rooms(old), from: fixture[1], correlation: 0)
        fixture.switchboard.noteAll(rooms(new), from: fixture[1], missing: 1)
        #expect(
            fixture.switchboard.interest.shards(of: old) == [1] && fixture.switchboard.interest.shards(of: new) == []
        )
        fixture.switchboard.noteAll(rooms(.job("j")), from: fixture[1], missing: 0)
        #expect(
            fixture.switchboard.interest.shards(of: old) == [] && fixture.switchboard.interest.shards(of: new) == [1]
        )
    }

    @Test func `while the number of shards changes requests wait in order, and then go to those who have the users`()
        throws
    {
        let fixture = try ShardFixture(shards: 2)
        fixture.switchboard.hold()
        let user = try fixture.user(of: 1)
        let keys = try (1...3).map { number in
            try fixture.ask(Request(.sendToUser(user)), from: 0, to: 1, number: UInt64(number), text: "\(number)")
        }
        #expect(try fixture.sent(to: 1).isEmpty && fixture.sent(to: 0).isEmpty)
        // The shards are others now, of another map: the user may belong to another one.
        let map = ShardMap(shardCount: 2, generation: 2)
        fixture.switchboard.replaceAll(by: fixture.roster.workers.reversed().reversed(), map)
        fixture.switchboard.release(now: 5)
        let owner = map.shard(ofUser: user)
        let sent = try fixture.sent(to: owner).filter { $0.header.kind == .command }
        #expect(sent.map(\.header.correlation) == keys.map(\.correlation))
        #expect(fixture.switchboard.rerouted == 3)
    }

    @Test func `what is held when the service stops is refused at once`() throws {
        let fixture = try ShardFixture()
        fixture.switchboard.hold()
        for number: UInt64 in 1...3 {
            try fixture.ask(Request(.sendToUser(try fixture.user(of: 1))), from: 0, to: 1, number: number)
        }
        fixture.switchboard.refuseHeld()
        let refused = CommandReply.failed(.shardUnavailable(partial: nil))
        #expect(try fixture.sent(to: 0).map(\.reply) == [refused, refused, refused])
        #expect(fixture.switchboard.nextDeadline == nil && fixture.switchboard.holding == nil)
    }

    @Test func `a worker that was replaced still gets the answers to what it has asked`() throws {
        let fixture = try ShardFixture()
        let key = try fixture.ask(Request(.sendToUser(try fixture.user(of: 1))), from: 0, to: 1)
        let donor = fixture[0]
        let heir = WorkerProcess(shard: 0, tag: 9, policy: ShardFixture.policy, waits: false)
        heir.generation = donor.generation
        fixture.roster.others.append(heir)
        try fixture.start(heir)
        _ = donor.custody.heard(.froze)
        fixture.roster.replace(donor, by: heir)
        #expect(donor.custody.state == .retired && fixture.roster.others.contains { $0 === donor })
        try fixture.reply(receipt, from: 1, to: key)
        #expect(try fixture.sent(to: 0).isEmpty, "the heir has not asked")
        let output = try #require(donor.process).stream.output
        #expect(output.count > PeerHeader.length)
    }

    @Test func `what is known is read back by the next program, and refused where it is cut`() throws {
        let fixture = try ShardFixture()
        fixture.switchboard.hold()
        try fixture.ask(Request(.sendToUser(try fixture.user(of: 1))), from: 0, to: 1, text: "held")
        fixture.switchboard.interest.note(.thread("t"), shards: 2)
        let saved = fixture.switchboard.saved
        let next = try ShardFixture()
        try next.switchboard.restore(saved, now: 0)
        #expect(next.switchboard.saved == saved)
        #expect(throws: Never.self) { try Switchboard.check(saved) }
        for length in 0..<saved.count {
            #expect(throws: WireError.self) { try Switchboard.check(Array(saved[..<length])) }
        }
    }

    @Test func `garbage from a worker is answered, not passed on`() throws {
        let fixture = try ShardFixture()
        let process = try #require(fixture[0].process)
        var generator = SystemRandomNumberGenerator()
        for number in 0..<500 {
            let payload = (0..<Int.random(in: 0..<60)).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let destination: UInt16 =
                [0, 1, 7, PeerAddress.room, PeerAddress.everyShard, PeerAddress.supervisor]
                .randomElement(using: &generator) ?? 0
            let header = PeerHeader(
                kind: .command,
                source: 0,
                destination: destination,
                correlation: UInt64(fixture[0].generation) << 40 | UInt64(number),
                mapGeneration: UInt32.random(in: 0..<3, using: &generator),
                payloadLength: payload.count
            )
            header.write(to: &process.stream.input)
            process.stream.input += payload
            let frame = try #require(try process.stream.next())
            fixture.switchboard.command(frame, from: fixture[0], now: 0)
        }
        fixture.switchboard.expire(now: Switchboard.patience)
        #expect(fixture.switchboard.nextDeadline == nil, "nothing waits for ever")
    }
}
