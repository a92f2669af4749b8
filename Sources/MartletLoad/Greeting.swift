// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import NIOCore

/// The first message on a socket: `connection_established`.
struct Greeting {
    /// What it says if the session goes on.
    struct Resumption {
        /// How many of the next messages were sent before.
        let replay: Int
        /// How many of the client's messages were handled.
        let received: Int
    }

    let connection: String
    /// The secret with which the next socket resumes; nil: there are no sessions.
    let session: String?
    /// How long a session waits for its client.
    let window: TimeAmount
    let resumption: Resumption?
    /// Why the session does not go on.
    let problem: String?

    init?(_ message: ByteBuffer) {
        let object = try? JSONSerialization.jsonObject(with: Data(message.readableBytesView)) as? [String: Any]
        guard let object, object["type"] as? String == "connection_established",
            let connection = object["connection_id"] as? String
        else { return nil }
        self.connection = connection
        session = object["session"] as? String
        window = .milliseconds(Int64(object["resume_window_ms"] as? Int ?? 0))
        problem = object["resume_error"] as? String
        if object["resumed"] as? Bool == true, let replay = object["replay"] as? Int,
            let received = object["received"] as? Int
        {
            resumption = Resumption(replay: replay, received: received)
        } else {
            resumption = nil
        }
    }
}
