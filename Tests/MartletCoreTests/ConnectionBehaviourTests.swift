// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

/// Behaviours 1 to 27: the record, the registry, the empty manager, and connections that come and go.
@Suite struct ConnectionBehaviourTests {
    private let fixture = ManagerFixture()
    private var manager: WebSocketManager { fixture.manager }

    private let record = WebSocketConnection(id: ConnectionID("test_id"), user: "test_user", handle: 7, connectedAt: 99)

    @Test func `manager behaviour 1: a record keeps its id, user, socket and date, and has no metadata unless given`() {
        #expect(record.id.text == "test_id" && record.user == "test_user")
        #expect(record.handle == 7 && record.connectedAt == 99)
        #expect(record.metadata == nil && record.thread == nil && record.info == nil)
    }

    @Test func `manager behaviour 2: a record keeps the metadata given`() {
        let metadata = "{\"key\":\"value\",\"number\":123}"
        let record = WebSocketConnection(
            id: ConnectionID("c"),
            user: "u",
            handle: 1,
            connectedAt: 1,
            metadata: metadata
        )
        #expect(record.metadata == metadata)
    }

    @Test func `manager behaviour 3: records are equal by value, over every field`() {
        #expect(
            record == WebSocketConnection(id: ConnectionID("test_id"), user: "test_user", handle: 7, connectedAt: 99)
        )
        let changes: [(inout WebSocketConnection) -> Void] = [
            { $0.id = ConnectionID("x") }, { $0.user = "x" }, { $0.handle = 8 }, { $0.connectedAt = 1 },
            { $0.metadata = "{}" }, { $0.thread = "t" },
        ]
        for change in changes {
            var other = record
            change(&other)
            #expect(other != record)
        }
    }

    @Test func `manager behaviour 4: a record's text shows its id and user, and never its metadata`() {
        var record = record
        record.metadata = "{\"password\":\"hunter2\"}"
        #expect("\(record)".contains("test_id") && "\(record)".contains("test_user"))
        #expect(!"\(record)".contains("hunter2") && !"\(String(describing: record))".contains("password"))
    }

    @Test func `manager behaviour 5: the registry of a manager refers to that manager`() {
        #expect(manager.registry.manager === manager)
    }

    @Test func `manager behaviour 6: registering an info makes exactly one connection, under the info's id`() async {
        let info = ConnectionInfo(connection: ConnectionID("conn_123"), user: "user_456", handle: fixture.socket())
        await manager.registry.register(user: "user_456", info: info, now: 5)
        #expect(await manager.statistics(byUser: false).connections == 1)
        #expect(await manager.connection(ConnectionID("conn_123"))?.user == "user_456")
        await fixture.check()
    }

    @Test func `manager behaviour 7: an unknown user has an empty list of infos`() async {
        #expect(await manager.registry.connections(of: "nobody").isEmpty)
    }

    @Test func `manager behaviour 8: the registry returns the same infos, and none of removed connections`() async {
        let infos = ["a", "b"].map {
            ConnectionInfo(connection: ConnectionID($0), user: "user_456", handle: fixture.socket())
        }
        for info in infos { await manager.registry.register(user: "user_456", info: info, now: 5) }
        let found = await manager.registry.connections(of: "user_456")
        #expect(found.count == 2 && found[0] === infos[0] && found[1] === infos[1])
        await manager.remove(ConnectionID("a"))
        #expect(await manager.registry.connections(of: "user_456").map(\.connection.text) == ["b"])
    }

    @Test func `manager behaviour 9: a new manager is empty`() async {
        let statistics = await manager.statistics(byUser: true)
        #expect(statistics.connections == 0 && statistics.users == 0 && statistics.connectionsByUser == [:])
        #expect(statistics.threads == 0 && statistics.jobs == 0)
    }

    @Test func `manager behaviour 10: the manager's isolation lets one operation in at a time`() async {
        // Each operation reads, does not yield, and writes: lost updates would show in the count.
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for number in 0..<500 { await manager.add("\(task)-\(number)", user: "u", handle: number) }
                }
            }
        }
        #expect(await manager.statistics(byUser: true).connectionsByUser == ["u": 4000])
        await fixture.check()
    }

    @Test func `manager behaviour 11: every registry of a manager is a view of the same store`() async {
        let info = ConnectionInfo(connection: ConnectionID("c"), user: "u", handle: fixture.socket())
        await manager.registry.register(user: "u", info: info, now: 1)
        #expect(await manager.registry.connections(of: "u").first === info)
    }

    @Test func `manager behaviour 12: all views are computed from the store, so they cannot disagree`() async {
        await fixture.add("a", "u")
        await fixture.add("b", "u")
        await manager.remove(ConnectionID("a"))
        #expect(await fixture.ids("u") == ["b"])
        #expect(await manager.statistics(byUser: true).connectionsByUser == ["u": 1])
        await fixture.check()
    }

    @Test func `manager behaviour 13: a new manager reports that it exists`() async {
        #expect(fixture.events == [.initialized])
        #expect(fixture.events[0].message == "Manager initialized")
    }

    @Test func `manager behaviour 14: an added connection is found by its id and by its user`() async {
        let handle = await fixture.add("conn_123", "user_456")
        #expect(await manager.connection(ConnectionID("conn_123"))?.handle == handle)
        #expect(await fixture.ids("user_456") == ["conn_123"])
    }

    @Test func `manager behaviour 15: a user has all of their connections, in the order of their arrival`() async {
        await fixture.add("conn1", "user1")
        await fixture.add("conn2", "user1")
        #expect(await fixture.ids("user1") == ["conn1", "conn2"])
    }

    @Test func `manager behaviour 16: adding is reported with the connection and its user`() async {
        await fixture.add("conn1", "user1")
        #expect(fixture.events.last == .added(ConnectionID("conn1"), user: "user1"))
        #expect(fixture.events.last?.message == "Added connection")
        #expect(await manager.statistics(byUser: true).connectionsByUser == ["user1": 1])
    }

    @Test func `manager behaviour 17: additions from many tasks are all present`() async {
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<200 {
                group.addTask { await manager.add("c\(number)", user: "u\(number % 5)", handle: number) }
            }
        }
        let statistics = await manager.statistics(byUser: true)
        #expect(
            statistics.connectionsByUser == Dictionary(uniqueKeysWithValues: (0..<5).map { (ExactText("u\($0)"), 40) })
        )
        await fixture.check()
    }

    @Test func `manager behaviour 18: a removed connection is in no index`() async {
        await fixture.add("c", "u")
        #expect(await manager.remove(ConnectionID("c"))?.user == "u")
        #expect(await manager.connection(ConnectionID("c")) == nil)
        #expect(await manager.statistics(byUser: true).connectionsByUser == [:])
        await fixture.check()
    }

    @Test func `manager behaviour 19: removing an unknown id returns nil and changes nothing`() async {
        await fixture.add("c", "u")
        #expect(await manager.remove(ConnectionID("nonexistent_connection")) == nil)
        #expect(await fixture.ids("u") == ["c"])
        #expect(fixture.events.count == 2, "and tells nothing")
    }

    @Test func `manager behaviour 20: removing one connection leaves the user's others`() async {
        await fixture.add("conn1", "u")
        await fixture.add("conn2", "u")
        await manager.remove(ConnectionID("conn1"))
        #expect(await fixture.ids("u") == ["conn2"])
    }

    @Test func `manager behaviour 21: the user is gone with the last connection`() async {
        await fixture.add("c", "u")
        await manager.remove(ConnectionID("c"))
        #expect(await manager.statistics(byUser: true).users == 0)
        #expect(await manager.statistics(byUser: true).connectionsByUser?["u"] == nil)
    }

    @Test func `manager behaviour 22: removing is reported`() async {
        await fixture.add("c", "u")
        await manager.remove(ConnectionID("c"))
        #expect(fixture.events.last == .removed(ConnectionID("c")))
        #expect(fixture.events.last?.message == "Removed connection")
    }

    @Test func `manager behaviour 23: a connection is found by its id, as it was registered`() async {
        let connection = WebSocketConnection(
            id: ConnectionID("c"),
            user: "u",
            handle: 3,
            connectedAt: 4,
            metadata: "{}"
        )
        await manager.add(connection)
        #expect(await manager.connection(ConnectionID("c")) == connection)
    }

    @Test func `manager behaviour 24: an unknown id has no connection`() async {
        await fixture.add("c", "u")
        #expect(await manager.connection(ConnectionID("d")) == nil)
    }

    @Test func `manager behaviour 25: a user's connections are exactly theirs`() async {
        await fixture.add("conn1", "user1")
        await fixture.add("x", "user2")
        await fixture.add("conn2", "user1")
        #expect(await fixture.ids("user1") == ["conn1", "conn2"])
        #expect(await fixture.ids("user2") == ["x"])
    }

    @Test func `manager behaviour 26: an unknown user has no connections`() async {
        #expect(await fixture.ids("nobody").isEmpty)
    }

    @Test func `manager behaviour 27: changing the list that was returned changes nothing in the manager`() async {
        await fixture.add("c", "u")
        var list = await manager.connections(ofUser: "u")
        list[0].user = "mallory"
        list.removeAll()
        #expect(await fixture.ids("u") == ["c"])
        #expect(await fixture.ids("mallory").isEmpty)
    }
}
