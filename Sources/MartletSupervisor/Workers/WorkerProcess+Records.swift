// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

// What is recorded about a worker: why it was started, and what it logs.

extension WorkerProcess {
    static let scaled = "scale"
    static let restarted = "restart"

    /// True if it took, or takes, the place of a worker that was replaced on request.
    var isPlanned: Bool { lastEnd == Self.scaled || lastEnd == Self.restarted }

    /// How many log lines of one worker are written in a second; any more are counted as lost.
    private static let mostLogLines = 2000

    /// Decides whether its next log line is written: normally there are few, but an attacker may send many.
    func mayLog(now: UInt64) -> Bool {
        guard let process else { return false }
        if now / 1_000_000_000 != process.logged.second { process.logged = (now / 1_000_000_000, 0) }
        process.logged.count += 1
        if process.logged.count > Self.mostLogLines { ledger[.logLinesLost] += 1 }
        return process.logged.count <= Self.mostLogLines
    }
}
