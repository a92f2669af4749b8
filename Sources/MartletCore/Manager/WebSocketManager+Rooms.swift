extension WebSocketManager {
    /// A connection joins a room.
    package func join(_ room: Room, connection id: ConnectionID) -> RoomEntry {
        let entry = store.join(room, id, limit: limits.roomsPerMember)
        if entry == .tooMany { counters[.roomsRefused] += 1 }
        return entry
    }

    /// A connection leaves a room; false where it was not in it.
    @discardableResult
    package func leave(_ room: Room, connection id: ConnectionID) -> Bool { store.leave(room, id) }

    /// Binds a user to a thread: all connections of the user, those to come included, are in it from now on.
    package func bind(user: String, toThread thread: String) -> RoomEntry {
        let entry = store.bind(.thread(thread), user: user, limit: limits.roomsPerMember)
        if entry == .tooMany { counters[.roomsRefused] += 1 }
        return entry
    }

    /// Ends a user's binding; false where there was none.
    @discardableResult
    package func unbind(user: String, fromThread thread: String) -> Bool {
        store.unbind(.thread(thread), user: user)
    }

    /// True where a user is bound to a thread.
    package func isBound(user: String, toThread thread: String) -> Bool {
        store.rooms.rooms(ofUser: user).contains(.thread(thread))
    }

    /// All connections of a user leave a room that they are in themselves; returns those that were in it.
    package func leave(_ room: Room, user: String) -> [WebSocketConnection] {
        store.connections(ofUser: user).filter { store.leave(room, $0.id) }
    }

    /// The rooms that a connection is in, its user's included.
    package func rooms(of id: ConnectionID) -> [Room] {
        guard let connection = store[id] else { return [] }
        let own = store.rooms(of: id)
        return own + store.rooms.rooms(ofUser: connection.user).filter { !own.contains($0) }
    }

    /// The rooms that a connection has joined itself.
    package func ownRooms(of id: ConnectionID) -> [Room] { store.rooms(of: id) }

    /// How many connections of this shard a message to the room would reach.
    package func count(in room: Room) -> Int {
        var count = 0
        store.forEach(in: room) { _ in count += 1 }
        return count
    }

    /// The connections of a room, in no order.
    package func connections(in room: Room) -> [WebSocketConnection] {
        var found: [WebSocketConnection] = []
        store.forEach(in: room) { found.append(copy $0) }
        return found
    }

    /// Rooms that got their first member on this shard, or lost their last, since this was asked.
    ///
    /// For the switchboard, which sends to a room only where it has members.
    package func takeRoomChanges() -> [RoomChange] { store.takeRoomChanges() }

    /// Every room of this shard.
    package var rooms: [Room] { Array(store.rooms.members.keys) }

    // MARK: Jobs

    /// Connects a watcher who is nobody but a watcher of a job; the id in force is in what is returned.
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

    /// A watcher leaves and is closed; the job's room goes with the last one.
    ///
    /// False where there is no such watcher.
    @discardableResult
    package func disconnect(fromJob job: String, handle: Int) -> Bool {
        disconnect(user: Self.watcher(of: job, handle), handle: handle)
    }

    /// The id that a job is known by: the given one, or a new one where that cannot be used.
    package func inForce(_ given: JobName) -> String {
        let job = given.usable ?? JobName.generated()
        if given != .text(job) { observer?(.jobRenamed(given: "\(given)", inForce: job)) }
        return job
    }

    private static func watcher(of job: String, _ handle: Int) -> String { "job_\(job)_\(handle)" }
}
