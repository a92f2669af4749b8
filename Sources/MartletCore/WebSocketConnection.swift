/// One registered connection: whose it is, and through what it is reached.
///
/// A value: changing a copy does not change what a manager has registered. Its text form never shows metadata.
package struct WebSocketConnection: Equatable, Sendable, CustomStringConvertible {
    package var id: ConnectionID
    /// The user's id, opaque text.
    package var user: String
    /// What ``Transport`` knows this connection by.
    package var handle: Int
    /// UTC, in milliseconds since 1970.
    package var connectedAt: Int64
    /// The thread that the client asked for when it connected.
    package var thread: String?

    package init(id: ConnectionID, user: String, handle: Int, connectedAt: Int64, thread: String? = nil) {
        self.id = id
        self.user = user
        self.handle = handle
        self.connectedAt = connectedAt
        self.thread = thread
    }

    package var description: String { "connection \(id) of user \(user)" }
}
