/// What a client may say, as JSON text.
package enum ClientMessage: Equatable, Sendable {
    /// `{"type":"ping"}`
    case ping
    /// JSON with a type that nothing here handles, or with none.
    case unsupported(type: String?)
    /// No JSON.
    case malformed(JSONFailure)

    package init(_ text: Span<UInt8>) {
        do throws(JSONFailure) {
            try JSONScanner.validate(text)
            switch JSONMembers.text(of: "type", in: text) {
            case "ping": self = .ping
            case let type: self = .unsupported(type: type)
            }
        } catch {
            self = .malformed(error)
        }
    }
}

/// What the server itself says to clients.
package enum ServerMessage {
    /// The first frame of every connection.
    package static func connectionEstablished(
        connection: String,
        user: String,
        heartbeatMilliseconds: Int,
        now: Int64
    ) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "connection_established")
        json.member("connection_id", connection)
        json.member("user_id", user)
        json.member("heartbeat_interval_ms", heartbeatMilliseconds)
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
}
