// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletWire
internal import Synchronization

/// Log lines that wait to be sent to the supervisor, which writes the log for all processes.
///
/// The sink is bounded: of a flood only the first lines of a turn are kept, and the lost ones are counted.
final class LogSink: Sendable {
    private static let mostLines = 200
    private let waiting = Mutex<(lines: [LogLine], lost: Int)>(([], 0))

    func append(_ line: LogLine) {
        waiting.withLock { waiting in
            if waiting.lines.count < Self.mostLines { waiting.lines.append(line) } else { waiting.lost += 1 }
        }
    }

    /// Takes the lines that wait.
    func take() -> [LogLine] {
        waiting.withLock { waiting in
            if waiting.lines.isEmpty { return [] }
            defer { waiting.lines = [] }
            return waiting.lines
        }
    }

    /// Returns how many lines were lost since the last call.
    func takeLost() -> Int {
        waiting.withLock { waiting in
            defer { waiting.lost = 0 }
            return waiting.lost
        }
    }
}
