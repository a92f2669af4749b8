// SPDX-License-Identifier: Apache-2.0

extension WebSocketManager {
    /// Adds a connection to a room.
    package func join(_ room: Room, connection id: ConnectionID) -> RoomEntry {
        let entry = store.join(room, id, limit: limits.roomsPerMember)
        if entry == .tooMany { counters[.roomsRefused] += 1 }
        return entry
    }

    /// Removes a connection from a room; false if it was not in it.
    @discardableResult
    package func leave(_ room: Room, connection id: ConnectionID) -> Bool { store.leave(room, id) }

    /// Binds a user to a thread: all connections of the user, including future ones, are in it from now on.
    package func bind(user: String, toThread thread: String) -> RoomEntry {
        let entry = store.bind(.thread(thread), user: user, limit: limits.roomsPerMember)
        if entry == .tooMany { counters[.roomsRefused] += 1 }
        return entry
    }

    /// Ends a user's binding to a thread; false if there was none.
    @discardableResult
    package func unbind(user: String, fromThread thread: String) -> Bool {
        store.unbind(.thread(thread), user: user)
    }

    /// Returns true if a user is bound to a thread.
    package func isBound(user: String, toThread thread: String) -> Bool {
        store.rooms.rooms(ofUser: user).contains(.thread(thread))
    }

    /// Removes all of a user's connections from a room, and returns those that had joined it themselves.
    package func leave(_ room: Room, user: String) -> [WebSocketConnection] {
        store.connections(ofUser: user).filter { store.leave(room, $0.id) }
    }

    /// Returns the rooms that a connection is in, including those that its user is bound to.
    package func rooms(of id: ConnectionID) -> [Room] {
        guard let connection = store[id] else { return [] }
        let own = store.rooms(of: id)
        return own + store.rooms.rooms(ofUser: connection.user).filter { !own.contains($0) }
    }

    /// Returns the rooms that a connection has joined itself.
    package func ownRooms(of id: ConnectionID) -> [Room] { store.rooms(of: id) }

    /// Returns how many connections of this shard a message to the room would reach.
    package func count(in room: Room) -> Int {
        var count = 0
        store.forEach(in: room) { _ in count += 1 }
        return count
    }

    /// Returns the connections in a room, in no particular order.
    package func connections(in room: Room) -> [WebSocketConnection] {
        var found: [WebSocketConnection] = []
        store.forEach(in: room) { found.append(copy $0) }
        return found
    }

    /// Returns the rooms that have got their first member on this shard, or lost their last, since the last call.
    ///
    /// This is for the switchboard, which sends a message for a room only to shards where it has members.
    package func takeRoomChanges() -> [RoomChange] { store.takeRoomChanges() }

    /// Every room of this shard.
    package var rooms: [Room] { Array(store.rooms.members.keys) }

    // MARK: Jobs

    /// Connects a client that only watches a job; the returned info has the job's id in force.
    package func connect(
        toJob given: JobName,
        handle: Int,
        now: Int64,
        makeID: (String) -> ConnectionID = ConnectionID.random(ofUser:)
    ) -> ConnectionInfo {
        let job = inForce(given)
        let user = Self.watcher(of: job, handle)
        let info = ConnectionInfo(connection: makeID(user), user: user, handle: handle, job: job)
        add(
            WebSocketConnection(
                id: info.connection,
                user: user,
                handle: handle,
                connectedAt: now,
                metadata: JobName.metadata(ofJob: job),
                info: info
            )
        )
        _ = join(.job(job), connection: info.connection)
        return info
    }

    /// Removes and closes a watcher of a job, whose room ends with its last watcher.
    ///
    /// Returns false if there is no such watcher.
    @discardableResult
    package func disconnect(fromJob job: String, handle: Int) -> Bool {
        disconnect(user: Self.watcher(of: job, handle), handle: handle)
    }

    /// Returns the id that a job is known by: the given one, or a new one if that cannot be used.
    package func inForce(_ given: JobName) -> String {
        let job = given.usable ?? JobName.generated()
        if given != .text(job) { observer?(.jobRenamed(given: "\(given)", inForce: job)) }
        return job
    }

    private static func watcher(of job: String, _ handle: Int) -> String { "job_\(job)_\(handle)" }
}
