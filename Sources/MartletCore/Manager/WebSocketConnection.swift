// SPDX-License-Identifier: Apache-2.0

/// One registered connection: whose it is, and how it is reached.
///
/// It is a value: changing a copy does not change what a manager has registered. Its text form never shows metadata.
package struct WebSocketConnection: Equatable, Sendable, CustomStringConvertible {
    /// What only a few connections have, kept apart so that the others cost less memory.
    private struct Details: Equatable, Sendable {
        var thread: String?
        var metadata: String?
        var info: ConnectionInfo?

        var isEmpty: Bool { thread == nil && metadata == nil && info == nil }

        static func == (left: Details, right: Details) -> Bool {
            left.thread == right.thread && left.metadata == right.metadata && left.info === right.info
        }
    }

    /// A box whose contents are never changed once others may see it.
    private final class Box: Sendable {
        let details: Details

        init(_ details: Details) {
            self.details = details
        }
    }

    package var id: ConnectionID
    /// The user's id, opaque text.
    package var user: String
    /// The number by which the ``Transport`` knows this connection; at most 2,147,483,647.
    package var handle: Int {
        get { Int(place) }
        set { place = Int32(newValue) }
    }
    /// When it connected: UTC, in milliseconds since 1970.
    package var connectedAt: Int64
    private var box: Box?
    private var place: Int32

    /// Makes a connection; `metadata` is the text of a JSON object.
    package init(
        id: ConnectionID,
        user: String,
        handle: Int,
        connectedAt: Int64,
        thread: String? = nil,
        metadata: String? = nil,
        info: ConnectionInfo? = nil
    ) {
        self.id = id
        self.user = user
        place = Int32(handle)
        self.connectedAt = connectedAt
        details = Details(thread: thread, metadata: metadata, info: info)
    }

    private var details: Details {
        get { box?.details ?? Details() }
        set { box = newValue.isEmpty ? nil : Box(newValue) }
    }

    /// The thread that the client asked for when it connected.
    package var thread: String? {
        get { details.thread }
        set { details.thread = newValue }
    }

    /// What the user's token says besides the claims that Martlet knows: the text of a JSON object.
    package var metadata: String? {
        get { details.metadata }
        set { details.metadata = newValue }
    }

    /// The object with which an embedding application registered the connection (``ConnectionRegistry``).
    package var info: ConnectionInfo? {
        get { details.info }
        set { details.info = newValue }
    }

    package static func == (left: WebSocketConnection, right: WebSocketConnection) -> Bool {
        left.id == right.id && left.user == right.user && left.handle == right.handle
            && left.connectedAt == right.connectedAt && left.details == right.details
    }

    package var description: String { "connection \(id) of user \(user)" }
}
