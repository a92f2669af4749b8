// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// The messages that the server itself sends to clients.
package enum ServerMessage {
    /// What the first message says about a session.
    package struct Session: Sendable {
        /// What came of the wish to resume one.
        package enum Outcome: Equatable, Sendable {
            case new
            /// So many messages follow, and so many of the client's were handled.
            case resumed(replay: Int, received: UInt32)
            case refused(ResumeProblem)
        }

        /// Nil: the server has no sessions.
        package let token: SessionToken?
        package let windowMilliseconds: Int
        package let outcome: Outcome

        package init(token: SessionToken?, windowMilliseconds: Int, outcome: Outcome) {
            self.token = token
            self.windowMilliseconds = windowMilliseconds
            self.outcome = outcome
        }
    }

    /// Makes the first message of every connection; the thread and the job are those that it asked for and is in.
    ///
    /// `session` is for clients that have asked for one.
    package static func connectionEstablished(
        connection: String,
        bearer: Bearer,
        heartbeatMilliseconds: Int,
        session: Session? = nil,
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
        if let session { write(session, to: &json) }
        json.member("timestamp", Timestamp.text(unixMilliseconds: now))
        json.endObject()
        return json.bytes
    }

    private static func write(_ session: Session, to json: inout JSONWriter) {
        if let token = session.token {
            json.member("session", token.text)
            json.member("resume_window_ms", session.windowMilliseconds)
        }
        switch session.outcome {
        case .new: return
        case .resumed(let replay, let received):
            json.key("resumed")
            json.value(true)
            json.member("replay", replay)
            json.member("received", Int(received))
        case .refused(let problem):
            json.key("resumed")
            json.value(false)
            json.member("resume_error", problem.rawValue)
        }
    }

    /// Makes the answer to a ping; in a session, `received` is how many of the client's messages were handled.
    package static func pong(now: Int64, received: UInt32? = nil) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "pong")
        json.member("timestamp", Timestamp.text(unixMilliseconds: now))
        if let received { json.member("received", Int(received)) }
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
    ///
    /// `number` says which message of a session's client it is about, counted from 1.
    package static func error(code: String, message: String, number: UInt32? = nil) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "error")
        json.member("code", code)
        json.member("message", message)
        if let number { json.member("number", Int(number)) }
        json.endObject()
        return json.bytes
    }

    /// Makes the message that the previous message exceeded the rate and was not handled.
    package static func rateLimited(waitMilliseconds: Int, number: UInt32? = nil) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "error")
        json.member("code", "rate_limited")
        json.member("message", "too many messages: this one was not handled; slow down to avoid a close with 4429")
        if let number { json.member("number", Int(number)) }
        json.member("retry_after_ms", waitMilliseconds)
        json.endObject()
        return json.bytes
    }
}
