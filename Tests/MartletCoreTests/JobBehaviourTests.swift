// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

/// Behaviours 46 to 58, 61 to 66, 68, 70, 74, 75, 77 and 78: jobs, statistics, ids, and concurrency.
@Suite struct JobBehaviourTests {
    private let fixture = ManagerFixture()
    private var manager: WebSocketManager { fixture.manager }

    @Test func `manager behaviour 46: a watcher of a job has it in its info, its user and its metadata`() async {
        let info = await manager.connect(toJob: .text("job123"), handle: fixture.socket(), now: 1)
        #expect(info.job == "job123" && info.user.contains("job_job123_"))
        let metadata = await manager.connection(info.connection)?.metadata
        #expect(metadata == "{\"job_id\":\"job123\",\"connection_type\":\"job\"}")
    }

    @Test func `manager behaviour 47: a job's number becomes its decimal text; another type is replaced`() async {
        let info = await manager.connect(toJob: .number(12345), handle: fixture.socket(), now: 1)
        #expect(info.job == "12345")
        #expect(fixture.events.contains(.jobRenamed(given: "the number 12345", inForce: "12345")), "with a warning")
        let other = await manager.connect(toJob: .other("WebSocket"), handle: fixture.socket(), now: 1)
        #expect(other.job?.wholeMatch(of: /job_[0-9a-f]{8}/) != nil)
    }

    @Test(arguments: ["<WebSocket object at 0x123>", "job <WebSocket object at 0x123>", "<function f at 0x7f>", ""])
    func `manager behaviour 48: a job id that looks like an object is replaced, with a warning`(given: String) async {
        let handle = fixture.socket()
        let info = await manager.connect(toJob: .text(given), handle: handle, now: 1)
        let job = info.job ?? ""
        #expect(job.wholeMatch(of: /job_[0-9a-f]{8}/) != nil)
        #expect(fixture.events.contains(.jobRenamed(given: given, inForce: job)))
        #expect(await manager.count(in: .job(job)) == 1)
        #expect(await manager.disconnect(fromJob: job, handle: handle), "leaving works with the id that was returned")
        for name in ["MyWebSocketJob", "a<b", "<", "<b>", "an object at 7", "x at 0x1"] {
            #expect(JobName.text(name).usable == name, "a name is no object")
        }
    }

    @Test func `manager behaviour 49: a job's room exists as long as it has watchers`() async {
        let handles = [fixture.socket(), fixture.socket()]
        for handle in handles { _ = await manager.connect(toJob: .text("job123"), handle: handle, now: 1) }
        #expect(await manager.rooms == [.job("job123")])
        #expect(await manager.count(in: .job("job123")) == 2)
        await manager.disconnect(fromJob: "job123", handle: handles[0])
        #expect(await manager.count(in: .job("job123")) == 1)
        await manager.disconnect(fromJob: "job123", handle: handles[1])
        #expect(await manager.rooms == [])
        await fixture.check()
    }

    @Test func `manager behaviour 50: a job's watchers can be listed, and are counted`() async {
        let info = await manager.connect(toJob: .text("job123"), handle: fixture.socket(), now: 1)
        #expect(await manager.connections(in: .job("job123")).map(\.id) == [info.connection])
        #expect(await manager.connections(in: .job("other")).isEmpty)
        let statistics = await manager.statistics(byUser: false)
        #expect(statistics.jobs == 1 && statistics.threads == 0)
    }

    @Test func `manager behaviour 51: leaving a job closes that watcher only`() async throws {
        let (first, second) = (fixture.socket(), fixture.socket())
        _ = await manager.connect(toJob: .text("j"), handle: first, now: 1)
        _ = await manager.connect(toJob: .text("j"), handle: second, now: 1)
        #expect(await manager.disconnect(fromJob: "j", handle: first))
        #expect(await !manager.disconnect(fromJob: "j", handle: first), "once")
        #expect(fixture.fake(first).closes == [1000] && fixture.fake(second).closes.isEmpty)
        #expect(try await manager.send("1", toRoom: .job("j")) == Delivery(matched: 1, delivered: 1))
        #expect(fixture.texts(second) == ["1"])
    }

    @Test func `manager behaviour 52: statistics have the connections, the users and each user's count`() async {
        await fixture.add("c", "u")
        let statistics = await manager.statistics(byUser: true)
        #expect(statistics.connections == 1 && statistics.users == 1 && statistics.connectionsByUser == ["u": 1])
        #expect(await manager.statistics(byUser: false).connectionsByUser == nil, "only where asked for")
    }

    @Test func `manager behaviour 53: statistics follow the connections`() async {
        #expect(await manager.statistics(byUser: true).connectionsByUser == [:])
        await fixture.add("conn1", "user1")
        await fixture.add("conn2", "user1")
        await fixture.add("conn3", "user2")
        let statistics = await manager.statistics(byUser: true)
        #expect(statistics.connections == 3 && statistics.users == 2)
        #expect(statistics.connectionsByUser == ["user1": 2, "user2": 1])
    }

    @Test func `manager behaviour 54: statistics follow removals`() async {
        await fixture.add("c", "u")
        await manager.remove(ConnectionID("c"))
        let statistics = await manager.statistics(byUser: true)
        #expect(statistics.connections == 0 && statistics.users == 0)
    }

    @Test func `manager behaviour 55: there is one shared manager`() {
        #expect(WebSocketManager.shared === WebSocketManager.shared)
        #expect(WebSocketManager.shared !== manager)
    }

    @Test func `manager behaviour 56: the shared manager takes sockets and delivers to them`() async throws {
        let shared = WebSocketManager.shared
        let handle = try #require(await shared.insert(FakeSocket()))
        let info = await shared.connect(user: "shared-test", handle: handle, now: 1)
        #expect(try await shared.send("1", toUser: "shared-test") == Delivery(matched: 1, delivered: 1))
        #expect(await shared.disconnect(connection: info.connection, code: 1000, reason: "") == 1)
        #expect(try await shared.send("1", toUser: "shared-test") == Delivery())
    }

    @Test func `manager behaviours 57, 58 and 61: eight tasks that add, remove and send leave the state of a model`()
        async throws
    {
        let sockets = (0..<8).map { _ in fixture.socket() }
        let kept = await withTaskGroup(of: Set<String>.self) { group in
            for task in 0..<8 {
                let handle = sockets[task]
                group.addTask {
                    var own: Set<String> = []
                    var generator = SplitMix(state: UInt64(task))
                    for step in 0..<1000 {
                        let id = "t\(task)-\(generator.next() % 50)"
                        switch generator.next() % 3 {
                        case 0:
                            await manager.add(id, user: "u\(step % 4)", handle: handle)
                            own.insert(id)
                        case 1:
                            #expect(await (manager.remove(ConnectionID(id)) != nil) == (own.remove(id) != nil))
                        default: _ = try? await manager.send("1", toUser: "u\(step % 4)")
                        }
                    }
                    return own
                }
            }
            return await group.reduce(into: Set<String>()) { $0.formUnion($1) }
        }
        var found: Set<String> = []
        for user in 0..<4 { found.formUnion(await fixture.ids("u\(user)")) }
        #expect(found == kept)
        #expect(await manager.statistics(byUser: false).connections == kept.count)
        await fixture.check()
    }

    @Test
    func `manager behaviour 62: of many senders at once, each sender's messages arrive in the order of its calls`()
        async throws
    {
        let handle = await fixture.add("c", "u")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for sender in 0..<8 {
                group.addTask {
                    for number in 0..<100 { _ = try await manager.send("\(sender) \(number)", toUser: "u") }
                }
            }
            try await group.waitForAll()
        }
        let texts = fixture.texts(handle)
        #expect(texts.count == 800)
        for sender in 0..<8 {
            #expect(texts.filter { $0.hasPrefix("\(sender) ") } == (0..<100).map { "\(sender) \($0)" })
        }
    }

    @Test func `manager behaviour 63: concurrent broadcasts and sends lose and duplicate nothing`() async throws {
        var handles: [Int] = []
        for number in 0..<20 { handles.append(await fixture.add("c\(number)", "u\(number)")) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<50 {
                group.addTask { _ = try await manager.broadcast("b\(number)") }
                group.addTask { _ = try await manager.send("s\(number)", toUser: "u\(number % 20)") }
            }
            try await group.waitForAll()
        }
        for (index, handle) in handles.enumerated() {
            let own = (0..<50).filter { $0 % 20 == index }.map { "s\($0)" }
            #expect(fixture.texts(handle).sorted() == ((0..<50).map { "b\($0)" } + own).sorted())
        }
    }

    @Test func `manager behaviour 64: of two with one id the newer wins, and nothing for the older one reaches it`()
        async throws
    {
        let older = await fixture.add("same", "user1")
        let newer = await fixture.add("same", "user2")
        #expect(await manager.connection(ConnectionID("same"))?.user == "user2")
        #expect(fixture.fake(older).closes == [4409])
        #expect(try await manager.send("secret", toUser: "user1") == Delivery())
        #expect(fixture.texts(newer).isEmpty)
        let statistics = await manager.statistics(byUser: true)
        #expect(statistics.connectionsByUser == ["user2": 1])
        await fixture.check()
    }

    @Test func `manager behaviours 65 and 66: ids are opaque text, including the empty one`() async throws {
        let handle = await fixture.add("", "")
        #expect(await manager.connection(ConnectionID(""))?.user == "")
        #expect(await fixture.ids("") == [""])
        #expect(try await manager.send("1", toUser: "").delivered == 1)
        #expect(fixture.texts(handle) == ["1"])
    }

    @Test func `manager behaviour 66: users whose names look the same but have other bytes are two users`() async throws
    {
        let (composed, decomposed) = ("jos\u{E9}", "jose\u{301}")
        #expect(composed == decomposed, "for Swift they are one")
        let first = await fixture.add("a", composed)
        let second = await fixture.add("b", decomposed)
        #expect(try await manager.send("1", toUser: composed) == Delivery(matched: 1, delivered: 1))
        #expect(fixture.texts(first) == ["1"] && fixture.texts(second).isEmpty)
        #expect(await manager.statistics(byUser: true).users == 2)
        _ = await manager.bind(user: composed, toThread: "t")
        _ = await manager.join(.thread(decomposed), connection: ConnectionID("b"))
        #expect(try await manager.send("2", toRoom: .thread(composed)) == Delivery())
        #expect(try await manager.send("3", toRoom: .thread("t")) == Delivery(matched: 1, delivered: 1))
        #expect(try await manager.broadcast("4", excluding: [composed]) == Delivery(matched: 1, delivered: 1))
        #expect(fixture.texts(second) == ["4"])
        await fixture.check()
    }

    @Test func `manager behaviour 68: users may have names in any script`() async {
        for (user, count) in [("用户1", 2), ("пользователь2", 1), ("مستخدم3", 3)] {
            for number in 0..<count { await fixture.add("\(user)-\(number)", user) }
        }
        let statistics = await manager.statistics(byUser: true)
        #expect(statistics.users == 3)
        #expect(statistics.connectionsByUser == ["用户1": 2, "пользователь2": 1, "مستخدم3": 3])
    }

    @Test func `manager behaviour 70: changing a copy does not change the registered connection`() async {
        await fixture.add("c", "u")
        var copy = await manager.connection(ConnectionID("c"))
        copy?.user = "another"
        #expect(await manager.connection(ConnectionID("c"))?.user == "u")
        #expect(await manager.remove(ConnectionID("c"))?.user == "u")
        #expect(await manager.statistics(byUser: false).users == 0)
    }

    @Test func `manager behaviour 74: 10,000 connections of 100 users are counted`() async {
        await manager.perform { manager in
            for number in 0..<10_000 { manager.add("c\(number)", user: "u\(number % 100)", handle: number) }
        }
        let statistics = await manager.statistics(byUser: true)
        #expect(statistics.connections == 10_000 && statistics.users == 100)
        #expect(statistics.connectionsByUser?.values.allSatisfy { $0 == 100 } == true)
        // If a list were rebuilt with each removal, this would take minutes.
        await manager.perform { manager in
            for number in 0..<100_000 { manager.add("d\(number)", user: "one", handle: number) }
            for number in stride(from: 99_999, through: 0, by: -1) { manager.remove(ConnectionID("d\(number)")) }
        }
        #expect(await manager.statistics(byUser: true).connectionsByUser?["one"] == nil)
    }

    @Test func `manager behaviour 75: a failing send and a removal at once remove a connection once`() async throws {
        for round in 0..<100 {
            await fixture.add("c\(round)", "u", failing: .closed)
            async let delivery = manager.send("1", toUser: "u")
            async let removed = manager.remove(ConnectionID("c\(round)"))
            let (found, taken) = (try await delivery, await removed)
            #expect(found.failed + (taken == nil ? 0 : 1) == 1)
        }
        #expect(await manager.statistics(byUser: false).connections == 0)
        await fixture.check()
    }

    @Test func `manager behaviour 77: after every operation all indexes agree`() async throws {
        await fixture.add("a", "u")
        await fixture.check()
        _ = await manager.join(.thread("t"), connection: ConnectionID("a"))
        await fixture.check()
        _ = await manager.bind(user: "u", toThread: "t2")
        await fixture.check()
        await fixture.add("a", "v")
        await fixture.check()
        await manager.unbind(user: "u", fromThread: "t2")
        await fixture.check()
        _ = await manager.disconnect(user: "v", code: 1000, reason: "")
        await fixture.check()
        #expect(await manager.rooms == [])
    }

    @Test func `manager behaviour 78: 100,000 connections that have ended leave nothing, and their sockets are free`()
        async throws
    {
        await manager.perform { manager in
            for number in 0..<100_000 {
                let id = "c\(number % 100)"
                manager.add(id, user: "u\(number % 7)", handle: number)
                _ = manager.join(.job("j\(number % 11)"), connection: ConnectionID(id))
                manager.remove(ConnectionID(id))
            }
        }
        let told = await manager.takeRoomChanges().count
        #expect(told == 200_000)
        #expect(await manager.takeRoomChanges().isEmpty)
        let sockets = (0..<1000).map { _ in WeakSocket(FakeSocket()) }
        for (number, socket) in sockets.enumerated() {
            let handle = fixture.sockets.insert(try #require(socket.take()))
            await manager.add("s\(number)", user: "u", handle: handle)
        }
        #expect(sockets.count { $0.socket != nil } == 1000)
        _ = await manager.disconnect(user: "u", code: 1000, reason: "")
        #expect(sockets.count { $0.socket != nil } == 0, "the transport let go of them")
        let statistics = await manager.statistics(byUser: true)
        #expect(statistics.connections == 0 && statistics.connectionsByUser == [:] && statistics.jobs == 0)
        #expect(await manager.rooms == [])
        await fixture.check()
    }
}

/// A socket that nobody else holds once it has been taken.
private final class WeakSocket {
    private var held: FakeSocket?
    private(set) weak var socket: FakeSocket?

    init(_ socket: FakeSocket) {
        held = socket
        self.socket = socket
    }

    func take() -> FakeSocket? {
        defer { held = nil }
        return held
    }
}
