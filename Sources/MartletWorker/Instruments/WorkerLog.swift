internal import Logging
internal import MartletWire
internal import Synchronization

/// Lines that wait to be told to the supervisor, which writes the log of all.
///
/// Bounded: of a flood the first lines of a turn are kept, and how many were lost is said.
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
            if waiting.lost > 0 {
                waiting.lines.append(LogLine(priority: 4, message: "Log lines were lost count=\(waiting.lost)"))
            }
            defer { waiting = ([], 0) }
            return waiting.lines
        }
    }
}

/// Sends a worker's log lines to its supervisor.
struct LinkLogHandler: LogHandler {
    let sink: LogSink
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]

    init(sink: LogSink) {
        self.sink = sink
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let details = all.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
        sink.append(LogLine(priority: event.level.syslogPriority, message: "\(event.message)\(details)"))
    }
}

extension Logger.Level {
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
