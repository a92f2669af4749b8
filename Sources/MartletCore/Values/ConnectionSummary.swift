// SPDX-License-Identifier: Apache-2.0

/// One connection, as `GET /v1/connections/{id}` shows it.
package struct ConnectionSummary: Equatable, Sendable {
    package var id: ConnectionID
    package var user: String
    package var shard: Int
    /// When it connected: UTC, in milliseconds since 1970, like all times here.
    package var connectedAt: Int64
    /// When the server last received something from it.
    package var lastSeenAt: Int64
    /// When the token expires; nil: never.
    package var expiresAt: Int64?
    package var thread: String?
    package var threads: [String] = []
    package var jobs: [String] = []
    /// The text of a JSON object.
    package var metadata: String?
    package var origin: ClientOrigin?
    package var queuedMessages = 0
    package var queuedBytes = 0
    /// The round-trip time of the last ping, in microseconds; nil before the first pong.
    package var roundTrip: Int?
    /// Its session; nil: it is none.
    package var session: Session?

    /// What a connection has that outlives its socket.
    package struct Session: Equatable, Sendable {
        /// Since when it waits for its client, as the other times; nil: there is a socket.
        package var waitingSince: Int64?
        /// How often it was resumed.
        package var resumes: Int
        /// Messages that were sent, and not confirmed.
        package var unconfirmed: Int

        package init(waitingSince: Int64?, resumes: Int, unconfirmed: Int) {
            self.waitingSince = waitingSince
            self.resumes = resumes
            self.unconfirmed = unconfirmed
        }
    }

    package init(id: ConnectionID, user: String, shard: Int, connectedAt: Int64, lastSeenAt: Int64) {
        self.id = id
        self.user = user
        self.shard = shard
        self.connectedAt = connectedAt
        self.lastSeenAt = lastSeenAt
    }
}
