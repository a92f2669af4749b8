// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

@testable import MartletWire

/// A successor goes on correctly with an arena that was left at any moment.
@Suite struct ArenaRecoveryTests {
    private func connect(_ fixture: ArenaFixture, _ name: String, cookie: UInt64) throws -> Int {
        let index = try #require(fixture.arena.claimSlot())
        let slot = fixture.arena.slot(index)
        slot.cookie = cookie
        slot.received = .init(position: 1000)
        let identity = ArenaIdentity(connection: name, bearer: Bearer(user: name), rooms: [.thread("t")])
        #expect(fixture.arena.setIdentity(identity, of: slot))
        slot.state = .open
        return index
    }

    private func queue(_ count: Int, of bytes: Int, on fixture: ArenaFixture, _ index: Int) throws -> [UInt32] {
        try (0..<count).map { _ in
            let frame = try #require(fixture.arena.makeFrame(bytes))
            #expect(fixture.arena.append(frame, byteCount: UInt32(bytes), to: fixture.arena.slot(index)))
            fixture.arena.release(frame)
            return frame
        }
    }

    private func successor(_ fixture: ArenaFixture) throws -> Arena {
        try Arena(adopting: fixture.memory) { _, _ in }
    }

    @Test func `the kernel knows what was sent, and the rest follows from exactly that byte`() throws {
        let fixture = try ArenaFixture()
        let index = try connect(fixture, "a", cookie: 7)
        _ = try queue(10, of: 100, on: fixture, index)
        fixture.arena.slot(index).sentPosition = 30
        let arena = try successor(fixture)
        #expect(arena.occupied == [.init(slot: index, cookie: 7)])
        let recovery = arena.recover([index: .init(written: 250, read: 1000)])
        #expect(recovery.slots == [index] && recovery.refused.isEmpty && recovery.unrecorded == 1)
        let slot = arena.slot(index)
        #expect(arena.queueCount(of: slot) == 8 && slot.sentPosition - slot.headPosition == 50)
        #expect(slot.queuedBytes == 800)
        #expect(try arena.identity(ofSlot: index).rooms == [.thread("t")])
        arena.vacate(index)
        #expect(arena.chunkBytesInUse == 0)
    }

    @Test func `memory that is in use again is not given back to the system`() throws {
        let fixture = try ArenaFixture(pages: 80)
        let (wave, late) = (try connect(fixture, "a", cookie: 1), try connect(fixture, "b", cookie: 2))
        // This queue is below a page that stays in use: when it is gone, more of its pages are free than are kept.
        _ = try queue(60, of: ArenaLayout.pageSize - 64, on: fixture, wave)
        _ = try queue(1, of: ArenaLayout.pageSize - 64, on: fixture, late)
        fixture.arena.vacate(wave)
        let memory = fixture.memory
        let arena = try Arena(adopting: memory) { offset, count in
            UnsafeMutableRawBufferPointer(rebasing: memory[offset..<offset + count])
                .initializeMemory(as: UInt8.self, repeating: 0)
        }
        #expect(arena.recover([late: .init(written: 0, read: 1000)]).slots == [late])
        let frames = try (0..<40).map { _ in try #require(arena.makeFrame(100_000)) }
        for frame in frames { arena.frameBytes(frame).initializeMemory(as: UInt8.self, repeating: 7) }
        arena.release(frames[0])
        for frame in frames.dropFirst() {
            let bytes = arena.frameBytes(frame)
            #expect(bytes.count == 100_000 && bytes.allSatisfy { $0 == 7 })
        }
    }

    @Test func `workers that ended during a request are counted, for this request and no other`() throws {
        let fixture = try ArenaFixture()
        let journal = fixture.arena.journal
        #expect(journal.beginAsked(source: 3, correlation: 9) == 0)
        journal.begin()
        // The worker ends here, and so does the next one.
        _ = try successor(fixture).recover([:])
        #expect(journal.beginAsked(source: 3, correlation: 9) == 1)
        journal.begin()
        _ = try successor(fixture).recover([:])
        #expect(journal.beginAsked(source: 3, correlation: 9) == 2)
        #expect(journal.beginAsked(source: 3, correlation: 10) == 0)
    }

    @Test func `a position that the queue cannot explain costs that connection and no other`() throws {
        let fixture = try ArenaFixture()
        let (good, bad) = (try connect(fixture, "a", cookie: 1), try connect(fixture, "b", cookie: 2))
        _ = try queue(2, of: 100, on: fixture, bad)
        let arena = try successor(fixture)
        let recovery = arena.recover([
            good: .init(written: 0, read: 1000), bad: .init(written: 201, read: 1000),
        ])
        #expect(recovery.slots == [good] && recovery.refused == [bad])
        #expect(arena.slot(bad).state == .vacant && arena.slotsInUse == 1)
        #expect(arena.claimSlot() == bad)
    }

    @Test(arguments: [0, 1, 4, 5, 16])
    func `an unfinished delivery is undone everywhere, and a finished one nowhere`(before: Int) throws {
        for isDone in [false, true] {
            let fixture = try ArenaFixture()
            let slots = try (0..<5).map { try connect(fixture, "c\($0)", cookie: UInt64($0 + 1)) }
            for slot in slots { _ = try queue(before, of: 50, on: fixture, slot) }
            fixture.arena.journal.begin()
            let frame = try #require(fixture.arena.makeFrame(60))
            fixture.arena.journal.note(frame: frame)
            for slot in slots.prefix(3) {
                #expect(fixture.arena.append(frame, byteCount: 60, to: fixture.arena.slot(slot)))
            }
            if isDone { fixture.arena.journal.commit() }
            let arena = try successor(fixture)
            let recovery = arena.recover(.init(uniqueKeysWithValues: slots.map { ($0, .init(written: 0, read: 1000)) }))
            #expect(recovery.slots.count == 5 && recovery.undone == (isDone ? 0 : 3))
            for (number, slot) in slots.enumerated() {
                #expect(arena.queueCount(of: arena.slot(slot)) == before + (isDone && number < 3 ? 1 : 0))
            }
            for slot in slots { arena.vacate(slot) }
            #expect(arena.chunkBytesInUse == 0)
        }
    }

    @Test func `a delivery is undone in all forms in which it was queued, and other deliveries are not`() throws {
        for isStale in [false, true] {
            let fixture = try ArenaFixture(slots: 32)
            let slots = try (0..<17).map { try connect(fixture, "c\($0)", cookie: UInt64($0 + 1)) }
            let journal = fixture.arena.journal
            func queue(_ frames: [UInt32]) {
                for (slot, frame) in zip(slots, frames) {
                    #expect(fixture.arena.append(frame, byteCount: 60, to: fixture.arena.slot(slot)))
                }
            }
            let before = try slots.map { _ in try #require(fixture.arena.makeFrame(60)) }
            if isStale {
                // A previous delivery had as many forms, and is done.
                journal.begin()
                journal.note(frame: before[0])
                for twin in before.dropFirst() { journal.note(twin: twin, of: before[0]) }
                queue(before)
                journal.commit()
            }
            journal.begin()
            let frames = try slots.map { _ in try #require(fixture.arena.makeFrame(60)) }
            journal.note(frame: frames[0])
            // This is a form of a frame of no delivery, and one form too many: neither counts.
            journal.note(twin: before[3], of: before[0])
            for twin in frames.dropFirst() { journal.note(twin: twin, of: frames[0]) }
            journal.note(twin: before[4], of: frames[0])
            queue(frames)
            let arena = try successor(fixture)
            let recovery = arena.recover(.init(uniqueKeysWithValues: slots.map { ($0, .init(written: 0, read: 1000)) }))
            #expect(recovery.slots.count == 17 && recovery.undone == 17)
            for slot in slots { #expect(arena.queueCount(of: arena.slot(slot)) == (isStale ? 1 : 0)) }
        }
    }

    @Test func `a room is added to an identity, and removed, without decoding the other rooms`() throws {
        let fixture = try ArenaFixture()
        let index = try connect(fixture, "c", cookie: 7)
        let slot = fixture.arena.slot(index)
        var bearer = Bearer(user: "用户")
        bearer.threads = ["t", String(repeating: "x", count: 256)]
        bearer.metadata = "{}"
        #expect(fixture.arena.setIdentity(.init(connection: "c", bearer: bearer, rooms: []), of: slot))
        var rooms: [Room] = []
        for number in 0..<256 {
            let id = "\(number)" + String(repeating: "r", count: number % 200)
            let room = number % 2 == 0 ? Room.thread(id) : .job(id)
            #expect(fixture.arena.addRoom(room, to: slot))
            rooms.append(room)
        }
        // The first, the last, some in between, and two that are not there: a thread is not a job.
        for room in [rooms[0], rooms[255], rooms[100], rooms[101], .thread("nowhere"), .job(rooms[2].id)] {
            #expect(fixture.arena.removeRoom(room, from: slot))
            rooms.removeAll { $0 == room }
            let expected = ArenaIdentity(connection: "c", bearer: bearer, rooms: rooms)
            #expect(try successor(fixture).identity(ofSlot: index) == expected)
        }
        #expect(try fixture.arena.bearer(of: slot) == bearer)
        for room in rooms { #expect(fixture.arena.removeRoom(room, from: slot)) }
        #expect(try successor(fixture).identity(ofSlot: index).rooms.isEmpty)
        fixture.arena.vacate(index)
        #expect(fixture.arena.chunkBytesInUse == 0)
        // A damaged identity is refused, whatever it says about its length.
        slot.identity = .max
        #expect(!fixture.arena.addRoom(.thread("t"), to: slot) && !fixture.arena.removeRoom(.thread("t"), from: slot))
        #expect(throws: WireError.self) { try fixture.arena.bearer(of: slot) }
    }

    @Test func `a message that was being handled is handled again, without what it had caused`() throws {
        let fixture = try ArenaFixture()
        let index = try connect(fixture, "a", cookie: 1)
        _ = try queue(2, of: 10, on: fixture, index)
        let slot = fixture.arena.slot(index)
        let chunk = try #require(fixture.arena.allocate(100))
        slot.received = .init(chunk: chunk, capacity: 128, length: 100, handled: 40, position: 1100)
        fixture.arena.journal.beginReceiving(index)
        fixture.arena.journal.beginHandling(index, slot, handled: 40)
        _ = try queue(1, of: 10, on: fixture, index)
        slot.state = .closing
        let arena = try successor(fixture)
        let recovery = arena.recover([index: .init(written: 0, read: 1105)])
        #expect(recovery.interrupted == index && arena.slot(index).attempts == 1)
        #expect(arena.queueCount(of: arena.slot(index)) == 2 && arena.slot(index).state == .open)
        #expect(
            arena.slot(index).received == .init(chunk: chunk, capacity: 128, length: 105, handled: 40, position: 1105)
        )
    }

    @Test func `bytes that were in the landing are kept, whether recorded or not`() throws {
        for recorded in [false, true] {
            let fixture = try ArenaFixture()
            let index = try connect(fixture, "a", cookie: 1)
            let other = try connect(fixture, "b", cookie: 2)
            fixture.arena.landing.copyBytes(from: (0..<200).map { UInt8($0) })
            let slot = fixture.arena.slot(index)
            if recorded {
                slot.received = .init(chunk: .max, length: 200, handled: 50, position: 1200)
            } else {
                fixture.arena.journal.beginReceiving(index)
            }
            let arena = try successor(fixture)
            let recovery = arena.recover([
                index: .init(written: 0, read: 1200), other: .init(written: 0, read: 1000),
            ])
            #expect(recovery.slots == [index, other])
            let kept = arena.slot(index).received
            let rest = Array(arena.bytes(of: kept.chunk, count: Int(kept.length)).dropFirst(Int(kept.handled)))
            #expect(rest == (recorded ? 50..<200 : 0..<200).map { UInt8($0) } && kept.position == 1200)
            #expect(arena.landing.allSatisfy { $0 == 0 } && arena.journal.receiving == nil)
        }
    }

    @Test func `bytes that the kernel counts and nobody was receiving cost that connection, and show no other bytes`()
        throws
    {
        // Either no connection was being received, or another one was, which counts only for itself.
        for receiver in [nil, 1] as [Int?] {
            for hasChunk in [false, true] {
                let fixture = try ArenaFixture()
                let liar = try connect(fixture, "liar", cookie: 1)
                let victim = try connect(fixture, "victim", cookie: 2)
                fixture.arena.landing.initializeMemory(as: UInt8.self, repeating: 0x53)
                if hasChunk {
                    let made = try #require(fixture.arena.makeReceiveChunk(200, filled: 10) { _ in })
                    fixture.arena.slot(liar).received = .init(
                        chunk: made.chunk,
                        capacity: made.capacity,
                        length: 10,
                        position: 1000
                    )
                }
                if receiver != nil { fixture.arena.journal.beginReceiving(victim) }
                let arena = try successor(fixture)
                #expect(throws: ArenaError.damagedSlot(liar)) { try arena.check(liar, .init(written: 0, read: 1040)) }
                let recovery = arena.recover([
                    liar: .init(written: 0, read: 1040),
                    victim: .init(written: 0, read: receiver == nil ? 1000 : 1030),
                ])
                #expect(recovery.slots == [victim] && recovery.refused == [liar])
                #expect(arena.slot(victim).received.length == (receiver == nil ? 0 : 30))
            }
        }
    }

    @Test func `tables and remembered answers remain, and what was not valid is gone`() throws {
        let fixture = try ArenaFixture()
        let table = ArenaTable(.bindings, in: fixture.arena)
        let places = (0..<40).compactMap { table.insert([UInt8($0)]) }
        table.remove(places[3])
        let journal = fixture.arena.journal
        journal.begin()
        _ = journal.remember(.init(source: 1, correlation: 5, delivery: journal.begun, reply: .bytes([1, 2])))
        journal.commit()
        journal.begin()
        _ = journal.remember(.init(source: 1, correlation: 6, delivery: journal.begun, reply: .bytes([3])))
        let arena = try successor(fixture)
        _ = arena.recover([:])
        let records = ArenaTable(.bindings, in: arena).records.map(\.bytes)
        #expect(records == (0..<40).filter { $0 != 3 }.map { [UInt8($0)] })
        #expect(arena.journal.answers.map(\.correlation) == [5])
    }

    @Test func `what another shard's worker has is copied as it was checked, and inconsistent slots are refused`()
        throws
    {
        let limits = ArenaImport.Limits(messageBytes: 1000, queueBytes: 1000, allowsEchoes: false)
        // The fixtures own the memory of the arenas that are returned.
        var fixtures: [ArenaFixture] = []
        func copy(_ change: (ArenaSlot, Arena) throws -> Void) throws -> (arena: Arena, slot: Int)? {
            let (source, target) = (try ArenaFixture(slots: 8, pages: 64), try ArenaFixture(slots: 8, pages: 64))
            fixtures += [source, target]
            let index = try connect(source, "u", cookie: 1)
            let slot = source.arena.slot(index)
            slot.userSlot = UInt16(ShardMap.userSlot(of: "u"))
            _ = try queue(3, of: 100, on: source, index)
            slot.sentPosition = 150
            try change(slot, source.arena)
            let copies = ArenaImport(from: source.arena, to: target.arena, limits: limits) { $0 != 1023 }
            let positions = StreamPositions(written: slot.sentPosition, read: 1000)
            guard let copied = try? copies.copy(index, positions, place: { $0 }) else { return nil }
            copies.finish()
            return (target.arena, copied)
        }
        // The first frame was sent, and half of the second one: two are left.
        let honest = try #require(try copy { _, _ in })
        let slot = honest.arena.slot(honest.slot)
        #expect(honest.arena.queueCount(of: slot) == 2 && slot.sentPosition - slot.headPosition == 50)
        #expect(
            try copy { slot, _ in slot.sentPosition = 300 }.map { $0.arena.queueCount(of: $0.arena.slot($0.slot)) } == 0
        )
        #expect(
            try copy { slot, _ in slot.flags = .init(rawValue: .max & ~0x201) }.map {
                $0.arena.slot($0.slot).flags.rawValue
            } == 0xDFE
        )
        #expect(try copy { slot, _ in slot.flags.insert(.echo) } == nil, "an echo, in production")
        #expect(try copy { slot, _ in slot.userSlot = 1023 } == nil, "another user's slot")
        #expect(try copy { slot, _ in slot.sentPosition = 301 } == nil, "more than was queued")
        #expect(try copy { slot, _ in slot.state = .vacant } == nil)
        #expect(try copy { slot, _ in slot.queueStore = .init(chunk: 0, capacity: 1 << 30) } == nil)
        #expect(try copy { slot, _ in slot.queueTail &+= 5 } == nil)
        let huge = try copy { slot, arena in
            let chunk = try #require(arena.allocate(8_000_000))
            slot.received = .init(chunk: chunk, capacity: 8_000_000, length: 100, position: 1000)
        }
        let kept = try #require(huge).arena.slot(try #require(huge).slot).received
        #expect(kept.length == 100 && kept.capacity < 200_000, "room for what it has")
        let full = try copy { slot, arena in
            let chunk = try #require(arena.allocate(8_000_000))
            slot.received = .init(chunk: chunk, capacity: 8_000_000, length: 8_000_000, position: 1000)
        }
        #expect(full == nil, "more than a message")
    }

    @Test func `memory full of nonsense is refused slot by slot, and never shows one user as another`() throws {
        var generator = SystemRandomNumberGenerator()
        for round in 0..<600 {
            let fixture = try ArenaFixture(slots: 8, pages: 4)
            let slots = try (0..<4).map { try connect(fixture, "user-\($0)", cookie: UInt64($0 + 1)) }
            for slot in slots { _ = try queue(Int.random(in: 0..<12), of: 90, on: fixture, slot) }
            let layout = fixture.arena.layout
            let regions = [
                64..<256, layout.slotsOffset..<layout.slotsOffset + 8 * 256,
                layout.ringOffset..<layout.ringOffset + 640,
                layout.chunksOffset..<layout.chunksOffset + 8192,
            ]
            for _ in 0..<Int.random(in: 1..<200) {
                let region = regions.randomElement(using: &generator) ?? 64..<256
                let offset = Int.random(in: region)
                fixture.memory[offset] = [0, 0xFF, UInt8.random(in: 0...255)].randomElement(using: &generator) ?? 0
            }
            if round % 10 == 0 { for offset in regions[1] { fixture.memory[offset] = UInt8.random(in: 0...255) } }
            let arena = try successor(fixture)
            var positions: [Int: StreamPositions] = [:]
            for occupied in arena.occupied where (1...4).contains(occupied.cookie) {
                positions[occupied.slot] = .init(written: UInt64.random(in: 0..<500), read: 1000)
            }
            for index in arena.recover(positions).slots {
                let identity = try arena.identity(ofSlot: index)
                #expect(identity.connection == "user-\(arena.slot(index).cookie - 1)")
                arena.vacate(index)
            }
            // Free memory can be used.
            for _ in 0..<20 { if let chunk = arena.allocate(Int.random(in: 1..<5000)) { arena.free(chunk) } }
        }
    }
}
