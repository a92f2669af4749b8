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
