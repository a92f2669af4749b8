// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// The messages that the server itself sends to clients.
package enum ServerMessage {
    /// Makes the first message of every connection; the thread and the job are those that it asked for and is in.
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

    /// Makes `thread_joined`, `thread_left`, `job_joined` or `job_left`.
    package static func room(_ room: Room, isJoined: Bool) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "\(room.kind.name)_\(isJoined ? "joined" : "left")")
        json.member("\(room.kind.name)_id", room.id)
        json.endObject()
        return json.bytes
    }

    /// Makes the message that the token was accepted, and that the connection may live until `expiry`.
    package static func authenticated(until expiry: Int64) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "authenticated")
        json.member("expires_at", Timestamp.text(unixMilliseconds: expiry))
        json.endObject()
        return json.bytes
    }

    /// Makes the message that the token expires soon, so that the client sends `authenticate` with a new one.
    package static func tokenExpiring(at expiry: Int64) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "token_expiring")
        json.member("expires_at", Timestamp.text(unixMilliseconds: expiry))
        json.endObject()
        return json.bytes
    }

    /// Makes the message about an error that leaves the connection open.
    package static func error(code: String, message: String) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "error")
        json.member("code", code)
        json.member("message", message)
        json.endObject()
        return json.bytes
    }

    /// Makes the message that the previous message exceeded the rate and was not handled.
    package static func rateLimited(waitMilliseconds: Int) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "error")
        json.member("code", "rate_limited")
        json.member("message", "too many messages: this one was not handled; slow down to avoid a close with 4429")
        json.member("retry_after_ms", waitMilliseconds)
        json.endObject()
        return json.bytes
    }
}
