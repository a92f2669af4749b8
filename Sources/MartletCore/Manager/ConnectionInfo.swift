// SPDX-License-Identifier: Apache-2.0

/// The object by which an application knows a connection: it gets back the same object that it registered.
package final class ConnectionInfo: Sendable {
    package let connection: ConnectionID
    package let user: String
    package let handle: Int
    /// The job that the connection watches, if ``WebSocketManager/connect(toJob:handle:now:)`` made it.
    package let job: String?

    package init(connection: ConnectionID, user: String, handle: Int, job: String? = nil) {
        self.connection = connection
        self.user = user
        self.handle = handle
        self.job = job
    }
}
