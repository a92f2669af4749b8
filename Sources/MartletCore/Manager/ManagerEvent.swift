/// What a manager tells its observer; the observer (a worker's log, a test's list) decides what becomes of it.
///
/// Never carries a message's text or a connection's metadata.
package enum ManagerEvent: Equatable, Sendable {
    case initialized
    case added(ConnectionID, user: String)
    case removed(ConnectionID)
    /// It was closed by us.
    case disconnected(ConnectionID, user: String, code: UInt16)
    /// Somebody asked to disconnect what is not there.
    case connectionNotFound(user: String)
    case sendFailed(ConnectionID, SendFailure)
    case handling(ConnectionID, byteCount: Int)
    case handlerFailed(ConnectionID)
    /// A job's id could not be used; the one in force is the second.
    case jobRenamed(given: String, inForce: String)

    /// True where an operator may want to know it.
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
