// SPDX-License-Identifier: Apache-2.0

/// Who is in which room: connections by their place in the store's table, and users with all their connections.
///
/// A room exists while it has members. Every operation costs the same however many rooms or members there are.
struct RoomIndex {
    struct Members {
        var connections: Set<Int32> = []
        var users: Set<ExactText> = []

        var isEmpty: Bool { connections.isEmpty && users.isEmpty }
    }

    private(set) var members: [Room: Members] = [:]
    private var byConnection: [Int32: [Room]] = [:]
    private var byUser: [ExactText: [Room]] = [:]
    private var counts: [Int] = Array(repeating: 0, count: Room.Kind.allCases.count + 1)
    /// Rooms that have appeared and vanished since the list was last taken, in order; empty if nobody takes it.
    private(set) var changes: [RoomChange] = []
    private let recordsChanges: Bool

    init(recordsChanges: Bool) {
        self.recordsChanges = recordsChanges
    }

    func count(of kind: Room.Kind) -> Int { counts[Int(kind.rawValue)] }

    func rooms(ofConnection entry: Int32) -> [Room] { byConnection[entry] ?? [] }

    func rooms(ofUser user: String) -> [Room] { byUser[ExactText(user)] ?? [] }

    /// Adds a connection to a room, if it is in fewer rooms than `limit`.
    mutating func join(_ room: Room, connection entry: Int32, limit: Int) -> RoomEntry {
        let present = byConnection[entry]?.count ?? 0
        if members[room]?.connections.contains(entry) == true { return .alreadyThere }
        guard present < limit else { return .tooMany }
        appear(room)
        members[room]?.connections.insert(entry)
        byConnection[entry, default: []].append(room)
        return .joined
    }

    /// Removes a connection from a room; false if it was not in it.
    mutating func leave(_ room: Room, connection entry: Int32) -> Bool {
        guard members[room]?.connections.remove(entry) != nil else { return false }
        byConnection[entry]?.removeAll { $0 == room }
        if byConnection[entry]?.isEmpty == true { byConnection.removeValue(forKey: entry) }
        vanishIfEmpty(room)
        return true
    }

    /// Removes a connection that is gone from all its rooms.
    mutating func leaveAll(connection entry: Int32) {
        guard let rooms = byConnection.removeValue(forKey: entry) else { return }
        for room in rooms {
            members[room]?.connections.remove(entry)
            vanishIfEmpty(room)
        }
    }

    /// Binds a user to a room, if the user is bound to fewer rooms than `limit`.
    mutating func bind(_ room: Room, user: String, limit: Int) -> RoomEntry {
        let user = ExactText(user)
        if members[room]?.users.contains(user) == true { return .alreadyThere }
        guard byUser[user]?.count ?? 0 < limit else { return .tooMany }
        appear(room)
        members[room]?.users.insert(user)
        byUser[user, default: []].append(room)
        return .joined
    }

    mutating func unbind(_ room: Room, user: String) -> Bool {
        let user = ExactText(user)
        guard members[room]?.users.remove(user) != nil else { return false }
        byUser[user]?.removeAll { $0 == room }
        if byUser[user]?.isEmpty == true { byUser.removeValue(forKey: user) }
        vanishIfEmpty(room)
        return true
    }

    mutating func takeChanges() -> [RoomChange] {
        if changes.isEmpty { return [] }
        defer { changes = [] }
        return changes
    }

    /// Gives all memory back when there are no rooms any more.
    mutating func shrinkWhenEmpty() {
        guard members.isEmpty else { return }
        members = [:]
        byConnection = [:]
        byUser = [:]
    }

    private mutating func appear(_ room: Room) {
        guard members[room] == nil else { return }
        members[room] = Members()
        counts[Int(room.kind.rawValue)] += 1
        if recordsChanges { changes.append(RoomChange(room: room, isOccupied: true)) }
    }

    private mutating func vanishIfEmpty(_ room: Room) {
        guard members[room]?.isEmpty == true else { return }
        members.removeValue(forKey: room)
        counts[Int(room.kind.rawValue)] -= 1
        if recordsChanges { changes.append(RoomChange(room: room, isOccupied: false)) }
    }

    /// What the three indexes disagree about.
    ///
    /// For tests. `entries` are the places of the table that hold a connection.
    func inconsistencies(entries: Set<Int32>) -> [String] {
        var found: [String] = []
        var pairs = (connections: 0, users: 0)
        for (room, members) in members {
            if members.isEmpty { found.append("\(room) is empty and still there") }
            pairs.connections += members.connections.count
            pairs.users += members.users.count
            for entry in members.connections
            where !entries.contains(entry) || !rooms(ofConnection: entry).contains(room) {
                found.append("\(room) has a connection that does not know it")
            }
            for user in members.users where !rooms(ofUser: user.text).contains(room) {
                found.append("\(room) has a user who does not know it")
            }
        }
        if pairs.connections != byConnection.values.reduce(0, { $0 + $1.count }) {
            found.append("connections know rooms that do not know them")
        }
        if pairs.users != byUser.values.reduce(0, { $0 + $1.count }) {
            found.append("users know rooms that do not know them")
        }
        for kind in Room.Kind.allCases where members.keys.count(where: { $0.kind == kind }) != count(of: kind) {
            found.append("the count of rooms of kind \(kind.name) is wrong")
        }
        return found
    }
}
