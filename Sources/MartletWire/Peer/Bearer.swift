package import MartletCore

/// Who a client has proved to be, and what it may do.
package struct Bearer: Equatable, Sendable {
    package var user: String
    /// The thread and the job that it asked for when it connected.
    package var thread: String?
    package var job: String?
    /// The rooms that its token names: it is in them from the start, and may join them again.
    package var threads: [String] = []
    package var jobs: [String] = []
    /// The text of a JSON object.
    package var metadata: String?
    /// Where it comes from; nil where that was not written down.
    package var origin: ClientOrigin?
    /// When its token ends, in Unix milliseconds; 0: never.
    package var expiresAt: Int64 = 0

    package init(user: String) {
        self.user = user
    }

    /// Everything that a connection is in from the start, in the order of its token, what it asked for last.
    package var rooms: [Room] {
        let named = threads.map(Room.thread) + jobs.map(Room.job)
        return named + [thread.map(Room.thread), job.map(Room.job)].compactMap { $0 }
    }
}
