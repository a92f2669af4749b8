// SPDX-License-Identifier: Apache-2.0

internal import MartletLinux
internal import MartletWire

// A peer that speaks HTTP gets only a moment of a turn, and an unknown peer gets less than a backend. The rest of what
// it sent waits, and nothing more is received from it in the meantime.

extension Door {
    /// How much time of a turn the requests of one unknown peer may take, in nanoseconds; one request may take longer.
    private static let sliceOfStrangers = LaterQueue.slice
    /// How much time of a turn the requests of one backend may take, in nanoseconds.
    ///
    /// It is longer because of batches: what their lines queue for one socket in a turn is sent in one write.
    private static let sliceOfBackends: UInt64 = 5_000_000

    func beginTurn() { turn &+= 1 }

    /// Returns true if a peer has had its share of this turn; the clock is read only from its second request on.
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

    /// Puts off what a peer has sent until later, after others.
    func putOff(_ connection: HTTPConnection) {
        if connection.isPutOff { return }
        connection.isPutOff = true
        later.append(connection)
    }

    /// True if there are peers that were put off and can be served.
    var hasLater: Bool { !later.isEmpty && !isPaused }

    /// Serves the peers that were put off, one after another, for as long as their share of the turn lasts.
    func serveLater(_ onEvent: OnEvent) {
        if !hasLater { return }
        let end = Clock.monotonicNanoseconds() + LaterQueue.share
        let waiting = later
        later = []
        for (number, connection) in waiting.enumerated() {
            if number > 0, Clock.monotonicNanoseconds() >= end {
                // These remain the first.
                later = Array(waiting[number...]) + later
                return
            }
            connection.isPutOff = false
            if connection.descriptor < 0 { continue }
            // The peer gets a new share.
            connection.turn = 0
            readOn(connection, isLate: false, onEvent)
            if connection.descriptor >= 0 { readable(connection, onEvent) }
        }
    }
}
