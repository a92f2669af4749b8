/// What an application knows a connection by: the very object that it registered is given back.
package final class ConnectionInfo: Sendable {
    package let connection: ConnectionID
    package let user: String
    package let handle: Int
    /// The job that it watches, where it was made by ``WebSocketManager/connect(toJob:handle:now:)``.
    package let job: String?

    package init(connection: ConnectionID, user: String, handle: Int, job: String? = nil) {
        self.connection = connection
        self.user = user
        self.handle = handle
        self.job = job
    }
}
