// SPDX-License-Identifier: Apache-2.0

/// The one store of who is connected: a table of connections, and indexes over it by id, by user and by room.
///
/// Adding and removing a connection costs the same however many connections there are, or one user has. Every other
/// view (counts, lists) is computed from this store, so views cannot disagree.
struct ConnectionStore {
    private struct Entry {
        var connection: WebSocketConnection
        /// The neighbours in the list of the same user's connections; -1: there is none.
        var previous: Int32
        var next: Int32
    }

    private struct UserEntry {
        var first: Int32
        var last: Int32
        var count: Int32
    }

    private var entries: [Entry?] = []
    private var vacant: [Int32] = []
    private var byID: [ConnectionID: Int32] = [:]
    private var byUser: [ExactText: UserEntry] = [:]
    private(set) var rooms: RoomIndex

    init(recordsRoomChanges: Bool) {
        rooms = RoomIndex(recordsChanges: recordsRoomChanges)
    }

    var count: Int { byID.count }
    var userCount: Int { byUser.count }

    subscript(id: ConnectionID) -> WebSocketConnection? {
        byID[id].flatMap { entries[Int($0)]?.connection }
    }

    /// Adds a connection whose id is not in the store (the caller has removed any older one).
    mutating func insert(_ connection: WebSocketConnection) {
        precondition(byID[connection.id] == nil, "an id can be registered once")
        let index: Int32
        if let reused = vacant.popLast() {
            index = reused
        } else {
            index = Int32(entries.count)
            entries.append(nil)
        }
        let previous = append(index, toUser: connection.user)
        entries[Int(index)] = Entry(connection: connection, previous: previous, next: -1)
        byID[connection.id] = index
    }

    /// Removes a connection from every index.
    mutating func remove(_ id: ConnectionID) -> WebSocketConnection? {
        guard let index = byID.removeValue(forKey: id), let entry = entries[Int(index)] else { return nil }
        if entry.previous >= 0 { entries[Int(entry.previous)]?.next = entry.next }
        if entry.next >= 0 { entries[Int(entry.next)]?.previous = entry.previous }
        unlink(entry, fromUser: entry.connection.user)
        rooms.leaveAll(connection: index)
        entries[Int(index)] = nil
        vacant.append(index)
        if byID.isEmpty { reset() }
        return entry.connection
    }

    /// Returns a user's connections, in the order in which they were added.
    func connections(ofUser user: String) -> [WebSocketConnection] {
        var result: [WebSocketConnection] = []
        if let list = list(ofUser: user) { forEach(in: list) { result.append($0) } }
        return result
    }

    func count(ofUser user: String) -> Int { Int(byUser[ExactText(user)]?.count ?? 0) }

    /// Returns the connection that a user has had for longest.
    func oldest(ofUser user: String) -> WebSocketConnection? {
        byUser[ExactText(user)].flatMap { entries[Int($0.first)]?.connection }
    }

    /// A user's connections, in the order in which they were added.
    struct UserList {
        fileprivate let first: Int32
    }

    /// Returns the list of a user's connections; nil if there are none.
    func list(ofUser user: String) -> UserList? { byUser[ExactText(user)].map { UserList(first: $0.first) } }

    /// Visits a user's connections, in the order in which they were added.
    func forEach(in list: UserList, _ visit: (borrowing WebSocketConnection) -> Void) {
        var index = list.first
        while index >= 0, let entry = entries[Int(index)] {
            visit(entry.connection)
            index = entry.next
        }
    }

    /// Visits every connection.
    func forEach(_ visit: (borrowing WebSocketConnection) -> Void) {
        for entry in entries {
            if let entry { visit(entry.connection) }
        }
    }

    /// Visits every connection in a room once: those that joined it, and those of the users bound to it.
    func forEach(in room: Room, _ visit: (borrowing WebSocketConnection) -> Void) {
        guard let members = rooms.members[room] else { return }
        for index in members.connections {
            if let entry = entries[Int(index)] { visit(entry.connection) }
        }
        for user in members.users {
            guard var index = byUser[user]?.first else { continue }
            while index >= 0, let entry = entries[Int(index)] {
                if !members.connections.contains(index) { visit(entry.connection) }
                index = entry.next
            }
        }
    }

    mutating func join(_ room: Room, _ id: ConnectionID, limit: Int) -> RoomEntry {
        guard let index = byID[id] else { return .unknown }
        return rooms.join(room, connection: index, limit: limit)
    }

    mutating func leave(_ room: Room, _ id: ConnectionID) -> Bool {
        guard let index = byID[id] else { return false }
        return rooms.leave(room, connection: index)
    }

    mutating func bind(_ room: Room, user: String, limit: Int) -> RoomEntry {
        rooms.bind(room, user: user, limit: limit)
    }

    mutating func unbind(_ room: Room, user: String) -> Bool { rooms.unbind(room, user: user) }

    mutating func takeRoomChanges() -> [RoomChange] { rooms.takeChanges() }

    /// The rooms that a connection has joined itself.
    func rooms(of id: ConnectionID) -> [Room] { byID[id].map { rooms.rooms(ofConnection: $0) } ?? [] }

    /// How many connections each user has.
    var countsByUser: [ExactText: Int] { byUser.mapValues { Int($0.count) } }

    private mutating func append(_ index: Int32, toUser user: String) -> Int32 {
        guard var list = byUser[ExactText(user)] else {
            byUser[ExactText(user)] = UserEntry(first: index, last: index, count: 1)
            return -1
        }
        let previous = list.last
        entries[Int(previous)]?.next = index
        list.last = index
        list.count += 1
        byUser[ExactText(user)] = list
        return previous
    }

    private mutating func unlink(_ entry: Entry, fromUser user: String) {
        guard var list = byUser[ExactText(user)] else { return }
        list.count -= 1
        if list.count == 0 {
            byUser.removeValue(forKey: ExactText(user))
            return
        }
        if entry.previous < 0 { list.first = entry.next }
        if entry.next < 0 { list.last = entry.previous }
        byUser[ExactText(user)] = list
    }

    /// Gives the memory of an empty store back, so that a wave of connections leaves nothing behind.
    private mutating func reset() {
        entries = []
        vacant = []
        byID = [:]
        byUser = [:]
        rooms.shrinkWhenEmpty()
    }

    /// Compares every index with the table; returns what disagrees.
    ///
    /// For tests.
    var inconsistencies: [String] {
        var found: [String] = []
        var counts: [ExactText: Int] = [:]
        for (index, entry) in entries.enumerated() {
            guard let entry else { continue }
            counts[ExactText(entry.connection.user), default: 0] += 1
            if byID[entry.connection.id] != Int32(index) { found.append("\(entry.connection) is not found by its id") }
        }
        if counts != countsByUser { found.append("users \(countsByUser) do not match the table \(counts)") }
        if byID.count != counts.values.reduce(0, +) { found.append("\(byID.count) ids for another number of entries") }
        for (user, count) in counts where connections(ofUser: user.text).count != count {
            found.append("the ring of \(user) has another length than its count")
        }
        if entries.count != count + vacant.count { found.append("vacant entries were lost") }
        let occupied = entries.indices.filter { entries[$0] != nil }.map(Int32.init)
        return found + rooms.inconsistencies(entries: Set(occupied))
    }
}
