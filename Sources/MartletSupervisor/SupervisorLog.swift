internal import Logging
internal import MartletLinux
internal import MartletWire

/// Writes the log of all processes to standard error, a line for each event.
///
/// Under systemd each line begins with its priority (`<4>`, sd-daemon(3)) and the journal adds the time.
struct SupervisorLog: LogHandler {
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]
    private let isJournal = CurrentProcess.environment("JOURNAL_STREAM") != nil

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let details = all.sorted { $0.key < $1.key }.map { " \($0.key)=\(Self.quoted("\($0.value)"))" }.joined()
        let priority: Int
        switch event.level {
        case .trace, .debug: priority = 7
        case .info: priority = 6
        case .notice: priority = 5
        case .warning: priority = 4
        case .error: priority = 3
        case .critical: priority = 2
        }
        if isJournal {
            CurrentProcess.printError("<\(priority)>\(event.message)\(details)")
        } else {
            let time = Timestamp.text(unixMilliseconds: Clock.unixMilliseconds())
            CurrentProcess.printError("\(time) \(event.level) \(event.message)\(details)")
        }
    }

    /// A value with spaces or control characters in quotes, so that one event stays one line.
    private static func quoted(_ value: String) -> String {
        if value.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x22 && $0 != 0x7F }) { return value }
        var json = JSONWriter()
        json.value(value)
        return String(decoding: json.bytes, as: UTF8.self)
    }
}
