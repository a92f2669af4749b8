// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

@testable import MartletWire

/// What a session keeps is exactly what its client has not confirmed, whoever goes on with it, and however often.
@Suite struct ArenaSessionTests {
    /// A session's messages by number, as a client and the bounds see them.
    private struct Model {
        /// The numbers of the messages that are held.
        var held: ClosedRange<Int>?
        var last = 0
        /// How many of all messages were handed to the kernel.
        var sent = 0

        var first: Int { held?.lowerBound ?? last + 1 }

        mutating func append() {
            let oldest = first
            last += 1
            held = oldest...last
        }

        mutating func forget(upTo number: Int) {
            let oldest = max(first, number + 1)
            held = oldest <= last ? oldest...last : nil
        }
    }

    private struct Fixture {
        var arena: Arena
        let memory: ArenaFixture
        var index: Int

        init() throws {
            memory = try ArenaFixture(slots: 8, pages: 8)
            arena = memory.arena
            index = try #require(arena.claimSlot())
            let slot = arena.slot(index)
            slot.cookie = 7
            slot.userSlot = UInt16(ShardMap.userSlot(of: "u"))
            slot.received = .init(position: 1000)
            slot.flags.insert(.session)
            let tokens = SessionTokens(newest: .init(high: 1, low: 2), earlier: [.init(high: 3, low: 4)])
            let identity = ArenaIdentity(connection: "c", session: tokens, bearer: Bearer(user: "u"))
            #expect(arena.setIdentity(identity, of: slot))
            slot.state = .open
        }

        var slot: ArenaSlot { arena.slot(index) }

        /// Queues a message with its number, or a frame that is none.
        func queue(message number: Int?) throws {
            let frame = try #require(arena.makeFrame(8))
            arena.frameBytes(frame).storeBytes(of: UInt64(number ?? 0), as: UInt64.self)
            #expect(arena.append(frame, byteCount: 8, isCounted: number != nil, to: slot))
            arena.release(frame)
        }

        /// The numbers of the messages after the client's count; nil: they are not all there.
        func numbers(after count: Int) -> [Int]? {
            guard let found = arena.messages(after: UInt32(count), of: slot), !found.isAhead else { return nil }
            return found.entries.map { Int(arena.frameBytes($0.frame).load(as: UInt64.self)) }
        }
    }

    @Test(arguments: 0..<20) func `whatever happens, what is held is what the bounds and the client have left`(
        _ seed: Int
    )
        throws
    {
        var generator = Seeded(state: UInt64(seed) &* 0x9E37_79B9 &+ 1)
        var fixture = try Fixture()
        var model = Model()
        for _ in 0..<300 {
            let slot = fixture.slot
            let isWaiting = slot.state == .waiting
            switch Int.random(in: 0..<100, using: &generator) {
            case 0..<40:
                model.append()
                try fixture.queue(message: model.last)
            case 40..<50:
                if !isWaiting { try fixture.queue(message: nil) }
            case 50..<75:
                guard !isWaiting, let first = fixture.arena.first(of: slot) else { break }
                slot.sentPosition += UInt64(first.byteCount)
                #expect(fixture.arena.didSendFirst(of: slot) == first.isCounted)
                if first.isCounted { model.sent += 1 }
            case 75..<85:
                let count = Int.random(in: 0...model.last + 2, using: &generator)
                let isThere = !isWaiting && count <= model.sent
                guard !isWaiting else { break }
                let confirmed = fixture.arena.confirm(UInt32(count), of: slot)
                if isThere { expect(confirmed != nil, "\(count) of \(model.sent) messages") }
                if confirmed != nil { model.forget(upTo: count) }
                if confirmed == nil { model = try drained(model, fixture) }
            case 85..<90:
                let most = Int.random(in: 0...30, using: &generator)
                let (sent, before) = (isWaiting ? model.last : model.sent, model.first)
                _ = fixture.arena.dropKept(of: slot, entries: most, bytes: 8 * most)
                model = try drained(model, fixture)
                // No more goes than must: what remains is as much as may be, gaps included.
                expect(
                    model.first >= before && sent - model.first + 1 <= most,
                    "\(most): \(before) to \(model.first), of \(sent)"
                )
            case 90..<93:
                // Another worker goes on, with the socket or without it.
                let positions =
                    isWaiting ? [:] : [fixture.index: StreamPositions(written: slot.sentPosition, read: 1000)]
                let next = try Arena(adopting: fixture.memory.memory) { _, _ in }
                let recovery = next.recover(positions, now: 5)
                expect(recovery.refused.isEmpty && recovery.slots.count + recovery.waiting.count == 1, "\(recovery)")
                fixture.arena = next
            case 93..<95:
                if !isWaiting {
                    fixture.arena.beginWaiting(slot, since: 9)
                } else {
                    try resume(&fixture, &model, &generator)
                }
            case 95..<98:
                try copy(&fixture, isWaiting)
            default:
                // The worker dies, and the socket with it.
                let next = try Arena(adopting: fixture.memory.memory) { _, _ in }
                #expect(next.recover([:], now: 11).waiting == [fixture.index])
                fixture.arena = next
            }
            #expect(fixture.numbers(after: model.first - 1) == model.held.map(Array.init) ?? [])
            if model.first > 1 {
                #expect(fixture.arena.messages(after: UInt32(model.first - 2), of: fixture.slot) == nil)
            }
            #expect(fixture.arena.messages(after: UInt32(model.last + 1), of: fixture.slot)?.isAhead ?? true)
        }
        fixture.arena.vacate(fixture.index)
        #expect(fixture.arena.chunkBytesInUse == 0)
    }

    /// What the arena says is held, which must be the last messages without a gap.
    private func drained(_ model: Model, _ fixture: Fixture) throws -> Model {
        var model = model
        let first = Int(fixture.slot.kept.messages) + 1
        #expect(first >= model.first)
        model.held = first <= model.last ? first...model.last : nil
        return model
    }

    /// A new slot takes the session, as a new socket does.
    private func resume(_ fixture: inout Fixture, _ model: inout Model, _ generator: inout Seeded) throws {
        let arena = fixture.arena
        let (from, count) = (fixture.slot, Int.random(in: model.first - 1...model.last, using: &generator))
        let to = try #require(arena.claimSlot())
        let slot = arena.slot(to)
        slot.cookie = 7
        slot.userSlot = from.userSlot
        slot.received = .init(position: 1000)
        slot.flags.insert(.session)
        slot.kept = .init(entries: 0, messages: UInt32(count))
        #expect(arena.setIdentity(try arena.identity(ofSlot: fixture.index), of: slot))
        let greeting = try #require(arena.makeFrame(8))
        #expect(arena.append(greeting, byteCount: 8, to: slot))
        arena.release(greeting)
        for entry in try #require(arena.messages(after: UInt32(count), of: from)).entries {
            #expect(arena.append(entry.frame, byteCount: entry.byteCount, isCounted: true, to: slot))
        }
        arena.journal.beginMove(from: fixture.index, to: to)
        slot.state = .open
        model.forget(upTo: count)
        model.sent = count
        if Bool.random(using: &generator) {
            // The worker dies between the two: the new slot counts.
            let next = try Arena(adopting: fixture.memory.memory) { _, _ in }
            #expect(next.recover([to: .init(written: 0, read: 1000)]).slots == [to])
            #expect(next.slot(fixture.index).state == .vacant)
            fixture.arena = next
        } else {
            arena.vacate(fixture.index)
            arena.journal.endMove()
        }
        fixture.index = to
    }

    /// Another shard takes the session, with its socket or without it.
    private func copy(_ fixture: inout Fixture, _ isWaiting: Bool) throws {
        let new = try Fixture()
        new.arena.vacate(new.index)
        let limits = ArenaImport.Limits(messageBytes: 1000, queueBytes: 1000, allowsEchoes: false)
        let copies = ArenaImport(from: fixture.arena, to: new.arena, limits: limits) { _ in true }
        let positions = StreamPositions(written: fixture.slot.sentPosition, read: 1000)
        let copied =
            isWaiting
            ? try copies.copySession(fixture.index, now: 10)
            : try copies.copy(fixture.index, positions, place: { $0 })
        copies.finish()
        let before = fixture
        fixture = new
        fixture.index = try #require(copied)
        #expect(fixture.slot.state == before.slot.state)
        #expect(fixture.slot.messagesReceived == before.slot.messagesReceived)
        #expect(fixture.slot.keptBytes == before.slot.keptBytes && fixture.slot.queuedBytes == before.slot.queuedBytes)
        let tokens = SessionTokens(newest: .init(high: 1, low: 2), earlier: [.init(high: 3, low: 4)])
        #expect(try fixture.arena.identity(ofSlot: fixture.index).session == tokens)
    }

    @Test func `a socket whose session has moved away is named, and its session is not there twice`() throws {
        let fixture = try Fixture()
        let arena = fixture.arena
        let to = try #require(arena.claimSlot())
        let slot = arena.slot(to)
        slot.flags.insert(.session)
        #expect(arena.setIdentity(try arena.identity(ofSlot: fixture.index), of: slot))
        arena.journal.beginMove(from: fixture.index, to: to)
        let sockets = [fixture.index: StreamPositions(written: 0, read: 1000)]
        // Until the new slot is complete, nothing has moved.
        let unmoved = try Arena(adopting: fixture.memory.memory) { _, _ in }
        #expect(unmoved.recover(sockets).superseded == nil && unmoved.slot(fixture.index).flags.contains(.session))
        arena.journal.beginMove(from: fixture.index, to: to)
        slot.state = .waiting
        let moved = try Arena(adopting: fixture.memory.memory) { _, _ in }
        let recovery = moved.recover(sockets)
        #expect(recovery.superseded == fixture.index && recovery.slots == [fixture.index] && recovery.waiting == [to])
        #expect(!moved.slot(fixture.index).flags.contains(.session) && moved.journal.move == nil)
    }

    @Test func `a message that is handled again is counted once`() throws {
        let fixture = try Fixture()
        let slot = fixture.slot
        slot.messagesReceived = 41
        fixture.arena.journal.beginHandling(fixture.index, slot, handled: 0)
        slot.messagesReceived = 42
        let next = try Arena(adopting: fixture.memory.memory) { _, _ in }
        #expect(next.recover([fixture.index: .init(written: 0, read: 1000)]).interrupted == fixture.index)
        #expect(next.slot(fixture.index).messagesReceived == 41)
    }
}

/// Numbers that a failing test can have again.
private struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let mixed = (state ^ (state >> 33)) &* 0xFF51_AFD7_ED55_8CCD
        return mixed ^ (mixed >> 33)
    }
}
