internal import MartletCore

// What is written down of a worker: why it came, and what it says in the log.

extension WorkerProcess {
    static let scaled = "scale"
    static let restarted = "restart"

    /// It took, or takes, the place of one that was asked to leave it.
    var isPlanned: Bool { lastEnd == Self.scaled || lastEnd == Self.restarted }

    /// Log lines of one worker that are written in a second; what comes beyond is counted as lost.
    private static let mostLogLines = 2000

    /// Whether its next log line is written: it writes a few in a minute, and can be taken over by strangers.
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
