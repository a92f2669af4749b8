internal import Logging
internal import MartletCore
internal import MartletWire

/// Logs what the manager tells.
///
/// Connections that come and go are told at debug level, and only there who they belong to.
struct ManagerLog {
    private let log: Logger

    init(_ log: Logger) {
        self.log = log
    }

    /// Nil where nobody would read it, so that it costs nothing.
    var observer: ((ManagerEvent) -> Void)? {
        let log = log
        let isDetailed = log.logLevel <= .debug
        return { event in
            // A full queue is an everyday event for its owner, not for the operator.
            let isWarning = if case .sendFailed = event { false } else { event.isWarning }
            guard isDetailed || isWarning else { return }
            log.log(
                level: isWarning ? .warning : .debug,
                "\(event.message)",
                metadata: Self.metadata(event, isDetailed)
            )
        }
    }

    private static func metadata(_ event: ManagerEvent, _ isDetailed: Bool) -> Logger.Metadata {
        var metadata: Logger.Metadata = [:]
        switch event {
        case .initialized: break
        case .added(let id, let user):
            metadata = ["connection": "\(id)", "user": "\(user)"]
        case .removed(let id), .handlerFailed(let id): metadata = ["connection": "\(id)"]
        case .disconnected(let id, let user, let code):
            metadata = ["connection": "\(id)", "user": "\(user)", "code": "\(code)"]
        case .connectionNotFound(let user): metadata = ["user": "\(user)"]
        case .sendFailed(let id, let failure): metadata = ["connection": "\(id)", "why": "\(failure)"]
        case .handling(let id, let byteCount): metadata = ["connection": "\(id)", "bytes": "\(byteCount)"]
        case .jobRenamed(let given, let inForce): metadata = ["given": "\(given)", "in_force": "\(inForce)"]
        }
        if !isDetailed { metadata["user"] = nil }
        return metadata
    }
}
