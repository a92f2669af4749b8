// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletLogging
internal import MartletSystemd
internal import MartletWire

/// Writes the log of all processes to the journal, or to standard error as lines of text or of JSON.
struct SupervisorLog: LogHandler {
    private enum Form {
        case journal, text, json
    }

    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    private let form: Form
    /// Whether its lines come from other processes, which could send anything, so that no line gets an event's id.
    private let isOfOthers: Bool

    init(_ configuration: Configuration.Log, isOfOthers: Bool = false) {
        self.isOfOthers = isOfOthers
        logLevel =
            switch configuration.level {
            case .debug: .debug
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        form =
            switch configuration.format {
            case .journal: .journal
            case .text: .text
            case .json: .json
            case .auto:
                if Systemd.isErrorTheJournal { .journal } else { CurrentProcess.isErrorATerminal ? .text : .json }
            }
    }

    /// Returns true if the log goes to the journal.
    static func isJournal(_ configuration: Configuration.Log) -> Bool { SupervisorLog(configuration).form == .journal }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        // Workers' lines have no id, whatever they say.
        let id = isOfOthers ? nil : all[ServiceEvent.field].map { "\($0)" }
        let fields = all.sorted { $0.key < $1.key }.filter { $0.key != ServiceEvent.field || isOfOthers }
            .map { ($0.key, "\($0.value)") }
        write(event.level, "\(event.message)", fields, id: id)
    }

    private func write(
        _ level: Logger.Level,
        _ message: String,
        _ fields: [(name: String, value: String)],
        id: String?
    ) {
        switch form {
        case .text:
            let time = Timestamp.text(unixMilliseconds: Clock.unixMilliseconds())
            CurrentProcess.printError("\(time) \(level) \(Self.line(message, fields))")
        case .json: CurrentProcess.printError(Self.json(level, message, fields))
        case .journal:
            let own = fields.map { ("MARTLET_\($0.name.uppercased())", $0.value) }
            let standard = [
                ("MESSAGE", Self.line(message, fields)), ("PRIORITY", "\(level.priority)"),
                ("SYSLOG_IDENTIFIER", "martletd"),
            ]
            let ids = id.map { [("MESSAGE_ID", $0)] } ?? []
            if !Systemd.writeToJournal(standard + ids + own) {
                CurrentProcess.printError("<\(level.priority)>\(Self.line(message, fields))")
            }
        }
    }

    private static func line(_ message: String, _ fields: [(name: String, value: String)]) -> String {
        Printable.text(message) + fields.map { " \($0.name)=\(quoted($0.value))" }.joined()
    }

    private static func json(
        _ level: Logger.Level,
        _ message: String,
        _ fields: [(name: String, value: String)]
    ) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("time", Timestamp.text(unixMilliseconds: Clock.unixMilliseconds()))
        json.member("level", "\(level)")
        json.member("message", message)
        for (name, value) in fields where !["time", "level", "message"].contains(name) { json.member(name, value) }
        json.endObject()
        return Printable.json(String(decoding: json.bytes, as: UTF8.self))
    }

    /// Puts a value with spaces or control characters in quotes, so that one event remains one line.
    private static func quoted(_ value: String) -> String {
        if value.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x22 && $0 < 0x7F }) { return value }
        var json = JSONWriter()
        json.value(value)
        let text = Printable.text(String(decoding: json.bytes, as: UTF8.self))
        // Quotes are only for values that would otherwise not be a single word.
        return value.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x22 }) && text.utf8.count == value.utf8.count + 2
            ? value : text
    }
}

extension LogLine {
    /// The level in the logging library.
    var level: Logger.Level { Logger.Level(priority: priority) }
}
