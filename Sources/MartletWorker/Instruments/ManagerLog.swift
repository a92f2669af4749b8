// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletWire

/// Logs the events of the manager.
///
/// Connections that come and go are logged only at debug level, and so are their users.
struct ManagerLog {
    private let log: Logger

    init(_ log: Logger) {
        self.log = log
    }

    /// The observer that logs events.
    var observer: ((ManagerEvent) -> Void)? {
        let log = log
        let isDetailed = log.logLevel <= .debug
        return { event in
            // A full queue concerns its owner, but not the operator.
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
