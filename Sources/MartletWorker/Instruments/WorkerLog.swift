internal import Logging
internal import MartletCore
internal import MartletWire
internal import Synchronization

/// Lines that wait to be told to the supervisor, which writes the log of all.
///
/// Bounded: of a flood the first lines of a turn are kept, and how many were lost is counted.
final class LogSink: Sendable {
    private static let mostLines = 200
    private let waiting = Mutex<(lines: [LogLine], lost: Int)>(([], 0))

    func append(_ line: LogLine) {
        waiting.withLock { waiting in
            if waiting.lines.count < Self.mostLines { waiting.lines.append(line) } else { waiting.lost += 1 }
        }
    }

    /// Takes what waits.
    func take() -> [LogLine] {
        waiting.withLock { waiting in
            if waiting.lines.isEmpty { return [] }
            defer { waiting.lines = [] }
            return waiting.lines
        }
    }

    /// How many were lost since this was asked.
    func takeLost() -> Int {
        waiting.withLock { waiting in
            defer { waiting.lost = 0 }
            return waiting.lost
        }
    }
}

/// Sends a worker's log lines to its supervisor.
struct LinkLogHandler: LogHandler {
    let sink: LogSink
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    init(sink: LogSink, level: Logger.Level) {
        self.sink = sink
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let fields = all.sorted { $0.key < $1.key }.map { LogLine.Field(name: $0.key, value: "\($0.value)") }
        sink.append(LogLine(priority: event.level.syslogPriority, message: "\(event.message)", fields: fields))
    }
}

extension Logger.Level {
    /// The level of a syslog priority.
    init(priority: UInt8) {
        switch priority {
        case ...3: self = .error
        case 4: self = .warning
        case 5, 6: self = .info
        default: self = .debug
        }
    }

    fileprivate var syslogPriority: UInt8 {
        switch self {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}

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
