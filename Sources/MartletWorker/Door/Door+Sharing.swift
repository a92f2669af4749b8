internal import MartletLinux
internal import MartletWire

// Nobody who speaks HTTP has more than a moment of a turn, a stranger less than a backend: the rest of what they sent
// waits, and nothing more is received from them meanwhile.

extension Door {
    /// How long the requests of one peer may take of a turn, in nanoseconds; one request may take longer.
    private static let sliceOfStrangers = LaterQueue.slice
    /// A backend's batches are worth it: what its lines queue for one socket in a turn leaves in one write.
    private static let sliceOfBackends: UInt64 = 5_000_000

    func beginTurn() { turn &+= 1 }

    /// True where a peer has had its share of this turn; the clock is read from its second request on.
    func isSpent(_ connection: HTTPConnection) -> Bool {
        if connection.turn != turn {
            connection.turn = turn
            connection.sliceEnd = 0
            return false
        }
        let now = Clock.monotonicNanoseconds()
        if connection.sliceEnd == 0 {
            connection.sliceEnd = now + (connection.isKnown ? Self.sliceOfBackends : Self.sliceOfStrangers)
        }
        return now >= connection.sliceEnd
    }

    /// What a peer has sent is heard later, behind others.
    func putOff(_ connection: HTTPConnection) {
        if connection.isPutOff { return }
        connection.isPutOff = true
        later.append(connection)
    }

    /// Somebody waits who can be heard.
    var hasLater: Bool { !later.isEmpty && !isPaused }

    /// Hears those who were put off, one after another, for as long as their share of the turn lasts.
    func serveLater(_ onEvent: OnEvent) {
        if !hasLater { return }
        let end = Clock.monotonicNanoseconds() + LaterQueue.share
        let waiting = later
        later = []
        for (number, connection) in waiting.enumerated() {
            if number > 0, Clock.monotonicNanoseconds() >= end {
                // They go on being first.
                later = Array(waiting[number...]) + later
                return
            }
            connection.isPutOff = false
            if connection.descriptor < 0 { continue }
            // A share of its own.
            connection.turn = 0
            readOn(connection, isLate: false, onEvent)
            if connection.descriptor >= 0 { readable(connection, onEvent) }
        }
    }
}
