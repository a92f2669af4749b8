// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// Who a client has proved to be, and which rooms it may be in.
package struct Bearer: Equatable, Sendable {
    package var user: String
    /// The thread and the job that it asked for when it connected.
    package var thread: String?
    package var job: String?
    /// The threads that its token names: it is in them from the start, and may join them again.
    package var threads: [String] = []
    package var jobs: [String] = []
    /// The text of a JSON object.
    package var metadata: String?
    /// Where it comes from; nil if that was not recorded.
    package var origin: ClientOrigin?
    /// When its token expires, in Unix milliseconds; 0: never.
    package var expiresAt: Int64 = 0

    package init(user: String) {
        self.user = user
    }

    /// All rooms that a connection is in from the start: first those of its token, in order, then those it asked for.
    package var rooms: [Room] {
        let named = threads.map(Room.thread) + jobs.map(Room.job)
        return named + [thread.map(Room.thread), job.map(Room.job)].compactMap { $0 }
    }
}
