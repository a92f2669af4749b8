// SPDX-License-Identifier: Apache-2.0

/// The one store of who is connected: a table of connections, and indexes over it by id, by user and by room.
///
/// Adding and removing a connection costs the same however many connections there are, or one user has. Every other
/// view (counts, lists) is computed from this store, so views cannot disagree. The indexes hold places in the table, and
/// no copies of keys, because there may be a million of each.
final class ConnectionStore {
    private struct Entry {
        static let vacant = Entry(
            connection: WebSocketConnection(id: ConnectionID(""), user: "", handle: 0, connectedAt: 0),
            previous: -1,
            next: -1,
            last: -1
        )

        var connection: WebSocketConnection
        /// The one before it in the list of the same user's connections; of the first, how many there are, negative.
        var previous: Int32
        /// The one after it; -1: there is none.
        var next: Int32
        /// Of the first in its list: the last; of others, one that was the last; -1: the place is vacant.
        var last: Int32

        var isVacant: Bool { last < 0 }
    }

    /// A user's connections, in the order in which they were added.
    struct UserList {
        fileprivate let first: Int32
    }

    private var entries: [Entry] = []
    private var vacant: [Int32] = []
    private var byID = PlaceTable()
    /// The first connection of each user.
    private var byUser = PlaceTable()
    private(set) var rooms: RoomIndex

    init(recordsRoomChanges: Bool) {
        rooms = RoomIndex(recordsChanges: recordsRoomChanges)
    }

    var count: Int { byID.count }
    var userCount: Int { byUser.count }

    subscript(id: ConnectionID) -> WebSocketConnection? {
        place(of: id).map { entries[Int($0)].connection }
    }

    /// Adds a connection whose id is not in the store (the caller has removed any older one).
    func insert(_ connection: WebSocketConnection) {
        precondition(place(of: connection.id) == nil, "an id can be registered once")
        let place: Int32
        if let reused = vacant.popLast() {
            place = reused
        } else {
            place = Int32(entries.count)
            entries.append(.vacant)
        }
        let first = list(ofUser: connection.user)?.first
        let previous = first.map { entries[Int($0)].last } ?? -1
        entries[Int(place)] = Entry(connection: connection, previous: previous, next: -1, last: place)
        byID.insert(place, hash: Self.hash(connection.id), hashOfID)
        guard let first else { return byUser.insert(place, hash: Self.hash(user: connection.user), hashOfUser) }
        entries[Int(previous)].next = place
        entries[Int(first)].last = place
        entries[Int(first)].previous -= 1
    }

    /// Removes a connection from every index.
    func remove(_ id: ConnectionID) -> WebSocketConnection? {
        guard let place = place(of: id) else { return nil }
        let entry = entries[Int(place)]
        byID.remove(place, hash: Self.hash(id), hashOfID)
        unlink(entry, place)
        rooms.leaveAll(connection: place)
        entries[Int(place)] = .vacant
        vacant.append(place)
        if byID.isEmpty { reset() }
        return entry.connection
    }

    /// Changes a connection in place; its id and its user must stay the same.
    func update(_ id: ConnectionID, _ change: (inout WebSocketConnection) -> Void) {
        guard let place = place(of: id) else { return }
        change(&entries[Int(place)].connection)
    }

    /// Returns a user's connections, in the order in which they were added.
    func connections(ofUser user: String) -> [WebSocketConnection] {
        var result: [WebSocketConnection] = []
        if let list = list(ofUser: user) { forEach(in: list) { result.append($0) } }
        return result
    }

    func count(ofUser user: String) -> Int { list(ofUser: user).map { -Int(entries[Int($0.first)].previous) } ?? 0 }

    /// Returns the connection that a user has had for longest.
    func oldest(ofUser user: String) -> WebSocketConnection? {
        list(ofUser: user).map { entries[Int($0.first)].connection }
    }

    /// Returns the list of a user's connections; nil if there are none.
    func list(ofUser user: String) -> UserList? {
        let entries = entries
        let lent = entries.span
        let first = byUser.find(hash: Self.hash(user: user)) { lent[Int($0)].connection.user.isExactly(user) }
        return first.map { UserList(first: $0) }
    }

    /// Visits a user's connections, in the order in which they were added.
    func forEach(in list: UserList, _ visit: (borrowing WebSocketConnection) -> Void) {
        // A span lends its elements, where an array would copy each.
        let entries = entries
        let lent = entries.span
        var place = Int(list.first)
        while place >= 0 {
            visit(lent[place].connection)
            place = Int(lent[place].next)
        }
    }

    /// Visits every connection.
    func forEach(_ visit: (borrowing WebSocketConnection) -> Void) {
        let entries = entries
        let lent = entries.span
        for place in lent.indices where !lent[place].isVacant { visit(lent[place].connection) }
    }

    /// Visits every connection in a room once: those that joined it, and those of the users bound to it.
    func forEach(in room: Room, _ visit: (borrowing WebSocketConnection) -> Void) {
        guard let members = rooms.members[room] else { return }
        let entries = entries
        let lent = entries.span
        for place in members.connections { visit(lent[Int(place)].connection) }
        for user in members.users {
            guard var place = list(ofUser: user.text)?.first else { continue }
            while place >= 0 {
                if !members.connections.contains(place) { visit(lent[Int(place)].connection) }
                place = lent[Int(place)].next
            }
        }
    }

    func join(_ room: Room, _ id: ConnectionID, limit: Int) -> RoomEntry {
        guard let place = place(of: id) else { return .unknown }
        return rooms.join(room, connection: place, limit: limit)
    }

    func leave(_ room: Room, _ id: ConnectionID) -> Bool {
        guard let place = place(of: id) else { return false }
        return rooms.leave(room, connection: place)
    }

    func bind(_ room: Room, user: String, limit: Int) -> RoomEntry { rooms.bind(room, user: user, limit: limit) }

    func unbind(_ room: Room, user: String) -> Bool { rooms.unbind(room, user: user) }

    func takeRoomChanges() -> [RoomChange] { rooms.takeChanges() }

    /// The rooms that a connection has joined itself.
    func rooms(of id: ConnectionID) -> [Room] { place(of: id).map { rooms.rooms(ofConnection: $0) } ?? [] }

    /// How many connections each user has.
    var countsByUser: [ExactText: Int] {
        var counts: [ExactText: Int] = [:]
        for entry in entries {
            if !entry.isVacant { counts[ExactText(entry.connection.user), default: 0] += 1 }
        }
        return counts
    }

    private func unlink(_ entry: Entry, _ place: Int32) {
        let hash = Self.hash(user: entry.connection.user)
        if entry.previous >= 0 {
            guard let first = list(ofUser: entry.connection.user)?.first else { return }
            entries[Int(entry.previous)].next = entry.next
            if entry.next >= 0 { entries[Int(entry.next)].previous = entry.previous }
            if entry.next < 0 { entries[Int(first)].last = entry.previous }
            entries[Int(first)].previous += 1
        } else if entry.next >= 0 {
            // The next one becomes the first.
            entries[Int(entry.next)].last = entry.last
            entries[Int(entry.next)].previous = entry.previous + 1
            byUser.replace(place, by: entry.next, hash: hash)
        } else {
            byUser.remove(place, hash: hash, hashOfUser)
        }
    }

    // MARK: Hashing

    private func place(of id: ConnectionID) -> Int32? {
        byID.find(hash: Self.hash(id)) { entries[Int($0)].connection.id == id }
    }

    private static func hash(_ id: ConnectionID) -> Int { ExactText(id.text).hashValue }

    private static func hash(user: String) -> Int { ExactText(user).hashValue }

    private func hashOfID(_ place: Int32) -> Int { Self.hash(entries[Int(place)].connection.id) }

    private func hashOfUser(_ place: Int32) -> Int { Self.hash(user: entries[Int(place)].connection.user) }

    /// Gives the memory of an empty store back, so that a wave of connections leaves nothing behind.
    private func reset() {
        entries = []
        vacant = []
        byID = PlaceTable()
        byUser = PlaceTable()
        rooms.shrinkWhenEmpty()
    }

    /// Compares every index with the table; returns what disagrees.
    ///
    /// For tests.
    var inconsistencies: [String] {
        var found: [String] = []
        var counts: [ExactText: Int] = [:]
        for (place, entry) in entries.enumerated() where !entry.isVacant {
            counts[ExactText(entry.connection.user), default: 0] += 1
            if self.place(of: entry.connection.id) != Int32(place) {
                found.append("\(entry.connection) is not found by its id")
            }
        }
        if byID.count != counts.values.reduce(0, +) { found.append("\(byID.count) ids for another number of entries") }
        if byUser.count != counts.count { found.append("\(byUser.count) users for another number of users") }
        for (user, count) in counts { found += inconsistencies(of: user.text, count) }
        if entries.count != count + vacant.count { found.append("vacant entries were lost") }
        let occupied = entries.indices.filter { !entries[$0].isVacant }.map(Int32.init)
        return found + rooms.inconsistencies(entries: Set(occupied))
    }

    /// Walks the list of a user who has so many connections.
    private func inconsistencies(of user: String, _ count: Int) -> [String] {
        guard let first = list(ofUser: user)?.first else { return ["\(user) is not found"] }
        var (walked, place, previous) = (0, first, Int32(-count))
        var found: [String] = []
        while place >= 0, walked <= count {
            let entry = entries[Int(place)]
            if !entry.connection.user.isExactly(user) {
                found.append("the list of \(user) has somebody else's connection")
            }
            if entry.previous != previous { found.append("the list of \(user) has a wrong link, or count") }
            if entry.next < 0, entries[Int(first)].last != place { found.append("the list of \(user) has another end") }
            (walked, previous, place) = (walked + 1, place, entry.next)
        }
        if walked != count { found.append("the list of \(user) has another length than its count") }
        return found
    }
}
