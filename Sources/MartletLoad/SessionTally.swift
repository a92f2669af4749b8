// SPDX-License-Identifier: Apache-2.0

/// What all sessions of a run have experienced together.
///
/// It lives on their loop.
final class SessionTally {
    private static let mostDetails = 20

    /// What has arrived, by session.
    var arrivals: Arrivals
    var opened = 0
    var resumes = 0
    /// Messages that came again, because they had not been confirmed.
    var replayed = 0
    /// Messages that clients sent again.
    var sentAgain = 0
    /// Sockets that clients gave up, because an answer did not come.
    var givenUp = 0
    /// Sessions that waited longer than they may, and ended.
    var expired = 0
    /// How often a session could not go on, by reason.
    var refused: [String: Int] = [:]
    /// How often a connection could not be opened, by reason.
    var failures: [String: Int] = [:]
    /// Connections that ended in a way that ends the session.
    var dropped = 0
    /// From the end of a socket to the greeting on the next one.
    var absences = Latencies()
    /// What the server should not have said or done.
    private(set) var faults = 0
    private(set) var details: [String] = []

    init(connections: Int) { arrivals = Arrivals(connections: connections) }

    func addFault(_ detail: String) {
        faults += 1
        addDetail(detail)
    }

    func addDetail(_ detail: String) {
        if details.count < Self.mostDetails { details.append(detail) }
    }
}
