package import MartletCore

/// What a client may say, as JSON text.
package enum ClientMessage: Equatable, Sendable {
    /// `{"type":"ping"}`
    case ping
    /// `{"type":"join_thread","thread_id":"T"}`, and the same with `job`.
    case join(Room)
    case leave(Room)
    /// `{"type":"authenticate","token":"..."}`
    case authenticate(String)
    /// JSON with a type that nothing here handles, or with none.
    case unsupported(type: String?)
    /// A type of ours without what belongs to it; the sentence says what is missing.
    case incomplete(String)
    /// No JSON.
    case malformed(JSONFailure)

    package init(_ text: Span<UInt8>) {
        do throws(JSONFailure) {
            try JSONScanner.validate(text)
        } catch {
            self = .malformed(error)
            return
        }
        switch JSONMembers.text(of: "type", in: text) {
        case "ping": self = .ping
        case "join_thread": self = Self.room(.thread, "thread_id", text, ClientMessage.join)
        case "leave_thread": self = Self.room(.thread, "thread_id", text, ClientMessage.leave)
        case "join_job": self = Self.room(.job, "job_id", text, ClientMessage.join)
        case "leave_job": self = Self.room(.job, "job_id", text, ClientMessage.leave)
        case "authenticate":
            let slice = JSONMembers.slice(of: "token", in: text)
            let token = slice.flatMap { JSONMembers.string($0, in: text, longest: TokenText.longest) }
            self = token.map(ClientMessage.authenticate) ?? .incomplete("token must be a text of at most 8192 bytes")
        case let type: self = .unsupported(type: type)
        }
    }

    private static func room(
        _ kind: Room.Kind,
        _ member: StaticString,
        _ text: Span<UInt8>,
        _ make: (Room) -> ClientMessage
    ) -> ClientMessage {
        guard let id = JSONMembers.text(of: member, in: text), !id.isEmpty else {
            return .incomplete("\(member) must be a text of 1 to 256 bytes")
        }
        return make(Room(kind, id))
    }
}

/// What the server itself says to clients.
package enum ServerMessage {
    /// The first frame of every connection; the thread and the job are those that it asked for and is in.
    package static func connectionEstablished(
        connection: String,
        bearer: Bearer,
        heartbeatMilliseconds: Int,
        now: Int64
    ) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "connection_established")
        json.member("connection_id", connection)
        json.member("user_id", bearer.user)
        json.member("heartbeat_interval_ms", heartbeatMilliseconds)
        if let thread = bearer.thread { json.member("thread_id", thread) }
        if let job = bearer.job { json.member("job_id", job) }
        json.member("timestamp", Timestamp.text(unixMilliseconds: now))
        json.endObject()
        return json.bytes
    }

    package static func pong(now: Int64) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "pong")
        json.member("timestamp", Timestamp.text(unixMilliseconds: now))
        json.endObject()
        return json.bytes
    }

    /// `thread_joined`, `thread_left`, `job_joined`, `job_left`.
    package static func room(_ room: Room, isJoined: Bool) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "\(room.kind.name)_\(isJoined ? "joined" : "left")")
        json.member("\(room.kind.name)_id", room.id)
        json.endObject()
        return json.bytes
    }

    /// The token was taken; the connection may live until then.
    package static func authenticated(until expiry: Int64) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "authenticated")
        json.member("expires_at", Timestamp.text(unixMilliseconds: expiry))
        json.endObject()
        return json.bytes
    }

    /// The token ends soon: send `authenticate` with a new one.
    package static func tokenExpiring(at expiry: Int64) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "token_expiring")
        json.member("expires_at", Timestamp.text(unixMilliseconds: expiry))
        json.endObject()
        return json.bytes
    }

    /// An error that leaves the connection open.
    package static func error(code: String, message: String) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "error")
        json.member("code", code)
        json.member("message", message)
        json.endObject()
        return json.bytes
    }

    /// The message before was over the rate and was not handled.
    package static func rateLimited(waitMilliseconds: Int) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "error")
        json.member("code", "rate_limited")
        json.member("message", "too many messages: this one was not handled; slow down, or be closed with 4429")
        json.member("retry_after_ms", waitMilliseconds)
        json.endObject()
        return json.bytes
    }
}
