// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

@Suite struct RoomTests {
    private let fixture = ManagerFixture()
    private var manager: WebSocketManager { fixture.manager }

    @Test func `a thread reaches its connections and its users' connections, each once`() async throws {
        let own = await fixture.add("own", "alice")
        let other = await fixture.add("other", "alice")
        let guest = await fixture.add("guest", "bob")
        await fixture.add("stranger", "carol")
        #expect(await manager.bind(user: "alice", toThread: "t") == .joined)
        #expect(await manager.join(.thread("t"), connection: ConnectionID("own")) == .joined)
        #expect(await manager.join(.thread("t"), connection: ConnectionID("guest")) == .joined)
        #expect(try await manager.send("1", toRoom: .thread("t")) == Delivery(matched: 3, delivered: 3))
        for handle in [own, other, guest] { #expect(fixture.texts(handle) == ["1"]) }
    }

    @Test func `a bound user's later connections are in the thread, until the binding ends`() async throws {
        _ = await manager.bind(user: "alice", toThread: "t")
        let later = await fixture.add("later", "alice")
        #expect(try await manager.send("1", toRoom: .thread("t")).delivered == 1)
        #expect(await manager.rooms(of: ConnectionID("later")) == [.thread("t")])
        #expect(await manager.unbind(user: "alice", fromThread: "t"))
        #expect(await !manager.unbind(user: "alice", fromThread: "t"))
        #expect(try await manager.send("2", toRoom: .thread("t")) == Delivery())
        #expect(fixture.texts(later) == ["1"])
    }

    @Test func `a thread and a job with the same name are two rooms`() async throws {
        await fixture.add("c", "u")
        _ = await manager.join(.thread("x"), connection: ConnectionID("c"))
        #expect(try await manager.send("1", toRoom: .job("x")) == Delivery())
        #expect(try await manager.send("1", toRoom: .thread("x")).matched == 1)
    }

    @Test func `one member may be in as many rooms as the limit says`() async {
        var limits = WebSocketManager.Limits()
        limits.roomsPerMember = 3
        let fixture = ManagerFixture(limits)
        await fixture.add("c", "u")
        for number in 0..<3 {
            #expect(await fixture.manager.join(.job("\(number)"), connection: ConnectionID("c")) == .joined)
            #expect(await fixture.manager.bind(user: "u", toThread: "\(number)") == .joined)
        }
        #expect(await fixture.manager.join(.job("3"), connection: ConnectionID("c")) == .tooMany)
        #expect(await fixture.manager.bind(user: "u", toThread: "3") == .tooMany)
        #expect(await fixture.manager.join(.job("0"), connection: ConnectionID("c")) == .alreadyThere)
        #expect(await fixture.manager.leave(.job("0"), connection: ConnectionID("c")))
        #expect(await fixture.manager.join(.job("3"), connection: ConnectionID("c")) == .joined)
        #expect(await fixture.manager.statistics(byUser: false).counters[.roomsRefused] == 2)
    }

    @Test func `the first and the last member are reported, and none in between`() async {
        await fixture.add("a", "u")
        await fixture.add("b", "u")
        let room = Room.thread("t")
        _ = await manager.join(room, connection: ConnectionID("a"))
        _ = await manager.join(room, connection: ConnectionID("b"))
        #expect(await manager.takeRoomChanges() == [RoomChange(room: room, isOccupied: true)])
        await manager.remove(ConnectionID("a"))
        #expect(await manager.takeRoomChanges() == [])
        await manager.remove(ConnectionID("b"))
        #expect(await manager.takeRoomChanges() == [RoomChange(room: room, isOccupied: false)])
    }

    @Test func `a connection beyond a user's limit is refused, or takes the place of the oldest one`() async {
        var limits = WebSocketManager.Limits()
        limits.connectionsPerUser = 2
        let strict = ManagerFixture(limits)
        for number in 0..<5 {
            let isAdmitted = await strict.manager.admit(user: "u")
            #expect(isAdmitted == (number < 2))
            if isAdmitted { await strict.add("c\(number)", "u") }
        }
        #expect(await strict.manager.admit(user: "v"))
        limits.overUserLimit = .replaceOldest
        let lenient = ManagerFixture(limits)
        var handles: [Int] = []
        for number in 0..<5 {
            #expect(await lenient.manager.admit(user: "u"))
            handles.append(await lenient.add("c\(number)", "u"))
        }
        #expect(await lenient.ids("u") == ["c3", "c4"])
        #expect(handles.map { lenient.fake($0).closes } == [[4409], [4409], [4409], [], []])
    }
}

@Suite struct InterestTableTests {
    @Test func `the table knows where a room has members, and counts each room once`() {
        var table = InterestTable()
        let room = Room.thread("t")
        table.note(RoomChange(room: room, isOccupied: true), shard: 1)
        table.note(RoomChange(room: room, isOccupied: true), shard: 127)
        table.note(RoomChange(room: .job("t"), isOccupied: true), shard: 0)
        #expect(table.shards(of: room) == [1, 127])
        #expect(table.count(of: .thread) == 1 && table.count(of: .job) == 1)
        table.note(RoomChange(room: room, isOccupied: false), shard: 1)
        table.note(RoomChange(room: room, isOccupied: false), shard: 1)
        #expect(table.shards(of: room) == [127])
        table.forget(shard: 127)
        #expect(table.shards(of: room) == [] && table.count(of: .thread) == 0)
        table.forget(shard: 0)
        #expect(table.count(of: .job) == 0)
    }
}
