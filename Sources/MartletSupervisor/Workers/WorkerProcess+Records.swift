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
        if now / 1_000_000_000 != logged.second { logged = (now / 1_000_000_000, 0) }
        logged.count += 1
        if logged.count > Self.mostLogLines { ledger[.logLinesLost] += 1 }
        return logged.count <= Self.mostLogLines
    }

    func replacesAsPlanned() {
        ledger[.plannedRestarts] += 1
    }
}
