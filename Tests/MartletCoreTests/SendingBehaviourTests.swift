// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

/// Behaviours 28 to 45, 59, 60, 67, 69, 71, 72 and 76: messages, and connections that cannot take them.
@Suite struct SendingBehaviourTests {
    private let fixture = ManagerFixture()
    private var manager: WebSocketManager { fixture.manager }
    private let message = "{\"type\":\"test\",\"data\":\"message\"}"

    @Test func `manager behaviour 28: a message reaches every connection of its user once, unchanged`() async throws {
        let handles = [await fixture.add("a", "user1"), await fixture.add("b", "user1")]
        #expect(try await manager.send(message, toUser: "user1") == Delivery(matched: 2, delivered: 2))
        for handle in handles { #expect(fixture.texts(handle) == [message]) }
    }

    @Test func `manager behaviour 29: a failed connection leaves every index and its rooms, and is closed`()
        async throws
    {
        let handle = await fixture.add("bad", "u", failing: .closed)
        _ = await manager.join(.thread("t"), connection: ConnectionID("bad"))
        #expect(try await manager.send(message, toUser: "u") == Delivery(matched: 1, failed: 1))
        #expect(await manager.connection(ConnectionID("bad")) == nil)
        #expect(await manager.rooms == [])
        #expect(fixture.fake(handle).closes == [1011])
        #expect(fixture.events.contains(.sendFailed(ConnectionID("bad"), .closed)))
        await fixture.check()
    }

    @Test func `manager behaviour 30: the receipt of a message to nobody says so`() async throws {
        #expect(try await manager.send(message, toUser: "nobody") == Delivery(matched: 0, delivered: 0, failed: 0))
    }

    @Test func `manager behaviour 31: a connection without a socket counts as failed and is removed`() async throws {
        await manager.add("ghost", user: "u", handle: 999)
        #expect(try await manager.send(message, toUser: "u") == Delivery(matched: 1, failed: 1))
        #expect(await fixture.ids("u").isEmpty)
        await manager.add("ghost", user: "u", handle: 999)
        #expect(try await manager.broadcast(message) == Delivery(matched: 1, failed: 1))
        #expect(await fixture.ids("u").isEmpty)
    }

    @Test func `manager behaviour 32: a thread without members is tried as a user`() async throws {
        let handle = await fixture.add("c", "thread123")
        #expect(try await manager.send(message, toThread: "thread123") == Delivery(matched: 1, delivered: 1))
        #expect(fixture.texts(handle) == [message])
        let member = await fixture.add("m", "someone")
        _ = await manager.join(.thread("thread123"), connection: ConnectionID("m"))
        #expect(try await manager.send("2", toThread: "thread123") == Delivery(matched: 1, delivered: 1))
        #expect(fixture.texts(member) == ["2"] && fixture.texts(handle) == [message], "now it is a thread")
    }

    @Test func `manager behaviour 33: a message to a thread whose members all fail is not a success`() async throws {
        await fixture.add("c", "u", failing: .queueFull)
        _ = await manager.join(.thread("t"), connection: ConnectionID("c"))
        #expect(try await manager.send(message, toThread: "t") == Delivery(matched: 1, failed: 1))
        #expect(try await manager.send(message, toThread: "t") == Delivery(), "and nobody is left")
    }

    @Test func `manager behaviour 35: a broadcast reaches everybody, unchanged`() async throws {
        let handles = [await fixture.add("a", "user1"), await fixture.add("b", "user2")]
        #expect(try await manager.broadcast(message) == Delivery(matched: 2, delivered: 2))
        for handle in handles { #expect(fixture.texts(handle) == [message]) }
    }

    @Test func `manager behaviour 36: a broadcast removes connections that fail, and reports it`() async throws {
        await fixture.add("a", "u", failing: .queueFull)
        let good = await fixture.add("b", "v")
        #expect(try await manager.broadcast(message) == Delivery(matched: 2, delivered: 1, failed: 1))
        #expect(fixture.texts(good) == [message])
        #expect(fixture.events.contains(.sendFailed(ConnectionID("a"), .queueFull)))
        #expect(await manager.statistics(byUser: true).connectionsByUser == ["v": 1])
    }

    @Test func `manager behaviour 37: the receipt of a broadcast to nobody says so`() async throws {
        #expect(try await manager.broadcast(message) == Delivery())
    }

    @Test func `manager behaviour 38: connecting a user makes an id and returns the info`() async {
        let handle = fixture.socket()
        let info = await manager.connect(user: "user1", handle: handle, now: 42) { _ in ConnectionID("mock-uuid") }
        #expect(info.user == "user1" && info.connection.text == "mock-uuid" && info.handle == handle)
        #expect(await manager.connection(info.connection)?.connectedAt == 42)
    }

    @Test func `manager behaviour 39: the registry has the info that connecting returned`() async {
        let info = await manager.connect(user: "user1", handle: fixture.socket(), now: 1)
        #expect(await manager.registry.connections(of: "user1").first === info)
        #expect(info.connection.userSlot == ShardMap.userSlot(of: "user1"), "the id leads to the user's shard")
    }

    @Test func `manager behaviour 40: disconnecting a user's socket closes that one, and only that one`() async {
        let first = fixture.socket()
        let second = fixture.socket()
        await manager.connect(user: "u", handle: first, now: 1)
        let kept = await manager.connect(user: "u", handle: second, now: 1)
        #expect(await manager.disconnect(user: "u", handle: first, code: 4001, reason: "bye"))
        #expect(fixture.fake(first).closes == [4001] && fixture.fake(second).closes.isEmpty)
        #expect(await manager.registry.connections(of: "u").map(\.connection) == [kept.connection])
        #expect(fixture.events.contains { if case .disconnected(_, "u", 4001) = $0 { true } else { false } })
        await fixture.check()
    }

    @Test func `manager behaviour 41: disconnecting an unknown one is reported, and returns false`() async {
        await fixture.add("c", "other")
        #expect(await !manager.disconnect(user: "nonexistent", handle: 1))
        #expect(fixture.events.last == .connectionNotFound(user: "nonexistent"))
        #expect(await fixture.ids("other") == ["c"])
    }

    @Test func `manager behaviour 42: a connection is found by its user and socket`() async {
        let handle = await fixture.add("c", "user1")
        let found = await manager.findConnection(user: "user1", handle: handle)
        #expect(found?.user == "user1" && found?.handle == handle)
    }

    @Test func `manager behaviour 43: another user's socket is not found`() async {
        let handle = await fixture.add("c", "user1")
        #expect(await manager.findConnection(user: "user2", handle: handle) == nil)
        #expect(await manager.findConnection(user: "user1", handle: handle + 1) == nil)
    }

    @Test func `manager behaviour 44: a client's message goes to the handler, and is logged without its text`() async {
        await fixture.add("c", "user1")
        #expect(await manager.handle(message, from: "c") == .unhandled, "none is installed")
        await manager.install { connection, text in
            connection.user == "user1" && text.count == 32
        }
        #expect(await manager.handle(message, from: "c") == .handled)
        #expect(await manager.handle("1", from: "c") == .unhandled, "the handler does not know it")
        #expect(fixture.events.contains(.handling(ConnectionID("c"), byteCount: 32)))
        #expect(await manager.handle(message, from: "unknown") == .unknownConnection)
    }

    @Test func `manager behaviour 45: a handler's failure is reported and closes nobody`() async {
        let handle = await fixture.add("c", "user1")
        await manager.install { _, _ in throw SendFailure.notEncodable }
        #expect(await manager.handle(message, from: "c") == .failed)
        #expect(fixture.events.last == .handlerFailed(ConnectionID("c")))
        #expect(fixture.fake(handle).closes.isEmpty)
        #expect(await fixture.ids("user1") == ["c"])
    }

    @Test func `manager behaviour 59: of two connections, the failing one goes and the good one gets the message`()
        async throws
    {
        let good = await fixture.add("good", "u")
        await fixture.add("bad", "u", failing: .closed)
        #expect(try await manager.send(message, toUser: "u") == Delivery(matched: 2, delivered: 1, failed: 1))
        #expect(fixture.texts(good) == [message])
        #expect(await fixture.ids("u") == ["good"])
    }

    @Test func `manager behaviour 60: a broadcast reaches all good connections while the list shrinks`() async throws {
        var good: [Int] = []
        for number in 0..<10 {
            let handle = await fixture.add("c\(number)", "u", failing: number % 3 == 1 ? .closed : nil)
            if number % 3 != 1 { good.append(handle) }
        }
        #expect(try await manager.broadcast(message) == Delivery(matched: 10, delivered: 7, failed: 3))
        for handle in good { #expect(fixture.texts(handle) == [message]) }
        #expect(await manager.statistics(byUser: false).connections == 7)
        await fixture.check()
    }

    @Test func `manager behaviour 67: a message of one mebibyte passes unchanged`() async throws {
        let handle = await fixture.add("c", "u")
        let large = "\"" + String(repeating: "x", count: 1_048_574) + "\""
        #expect(try await manager.send(large, toUser: "u") == Delivery(matched: 1, delivered: 1))
        #expect(fixture.texts(handle) == [large])
    }

    @Test func `manager behaviour 69: a socket that was reset under us is removed by the send that finds it`()
        async throws
    {
        await fixture.add("c", "u", failing: .closed)
        _ = try await manager.send(message, toUser: "u")
        #expect(await fixture.ids("u").isEmpty)
    }

    @Test func `manager behaviour 71: what cannot be encoded fails its caller and touches no connection`() async throws
    {
        let handle = await fixture.add("c", "u")
        let bytes: [UInt8] = [0xFF, 0xFE]
        await #expect(throws: SendFailure.notEncodable) { try await manager.send(bytes.span, toUser: "u") }
        await #expect(throws: SendFailure.notEncodable) { try await manager.broadcast(bytes.span) }
        #expect(await fixture.ids("u") == ["c"])
        #expect(fixture.texts(handle).isEmpty && fixture.fake(handle).closes.isEmpty)
    }

    @Test func `manager behaviour 72: of working, failing and stuck sockets, only working ones stay`() async throws {
        await fixture.add("works", "u")
        await fixture.add("fails", "u", failing: .closed)
        await fixture.add("stuck", "v", failing: .queueFull)
        #expect(try await manager.broadcast(message) == Delivery(matched: 3, delivered: 1, failed: 2))
        #expect(await manager.statistics(byUser: true).connectionsByUser == ["u": 1])
        #expect(await fixture.ids("u") == ["works"])
    }

    @Test func `manager behaviour 76: each of 1,000 users gets only their own messages`() async throws {
        var handles: [String: [Int]] = [:]
        for number in 0..<1500 {
            let user = "user-\(number % 1000)"
            handles[user, default: []].append(await fixture.add("c\(number)", user))
        }
        var expected: [String: [String]] = [:]
        var generator = SplitMix(state: 7)
        for number in 0..<5000 {
            let user = "user-\(generator.next() % 1000)"
            expected[user, default: []].append("\(user) \(number)")
            let delivery = try await manager.send("\(user) \(number)", toUser: user)
            #expect(delivery.delivered == handles[user]?.count)
        }
        for (user, own) in handles {
            for handle in own { #expect(fixture.texts(handle) == expected[user] ?? []) }
        }
    }
}
