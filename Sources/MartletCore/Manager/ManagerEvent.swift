// SPDX-License-Identifier: Apache-2.0

/// What a manager tells its observer, which decides what to do with it (a worker logs it, a test lists it).
///
/// An event never carries a message's text or a connection's metadata.
package enum ManagerEvent: Equatable, Sendable {
    case initialized
    case added(ConnectionID, user: String)
    case removed(ConnectionID)
    /// The server closed the connection.
    case disconnected(ConnectionID, user: String, code: UInt16)
    /// Somebody asked to disconnect a connection that does not exist.
    case connectionNotFound(user: String)
    case sendFailed(ConnectionID, SendFailure)
    case handling(ConnectionID, byteCount: Int)
    case handlerFailed(ConnectionID)
    /// A job's id could not be used, and another id is in force.
    case jobRenamed(given: String, inForce: String)

    /// True if an operator may want to know about the event.
    package var isWarning: Bool {
        switch self {
        case .connectionNotFound, .sendFailed, .handlerFailed, .jobRenamed: true
        case .initialized, .added, .removed, .disconnected, .handling: false
        }
    }

    /// The event in a few fixed words.
    package var message: String {
        switch self {
        case .initialized: "Manager initialized"
        case .added: "Added connection"
        case .removed: "Removed connection"
        case .disconnected: "Disconnected"
        case .connectionNotFound: "Connection not found"
        case .sendFailed: "Cannot send to a connection"
        case .handling: "Handling message"
        case .handlerFailed: "The handler of a message failed"
        case .jobRenamed: "A job id was replaced"
        }
    }
}
