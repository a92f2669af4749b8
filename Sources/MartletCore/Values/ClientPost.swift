// SPDX-License-Identifier: Apache-2.0

/// What a client asks for its session by an HTTP request of its own, because it reads server-sent events and so has no
/// socket to write to.
///
/// It travels from the worker that has checked the client's token to the one that owns the session. The messages travel
/// beside it, one a line.
package struct ClientPost: Equatable, Sendable {
    package enum Action: Equatable, Sendable {
        /// To handle messages; the first of them has this number in the session, counted from 1.
        case messages(first: UInt32)
        /// To end the session.
        case end
    }

    package let user: String
    package let connection: ConnectionID
    /// The secret of the session's token: 128 bits.
    package let high: UInt64
    package let low: UInt64
    package let action: Action

    package init(user: String, connection: ConnectionID, high: UInt64, low: UInt64, _ action: Action) {
        self.user = user
        self.connection = connection
        self.high = high
        self.low = low
        self.action = action
    }
}
