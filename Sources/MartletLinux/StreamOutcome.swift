// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// The outcome of a non-blocking read or write of a stream.
package enum StreamOutcome: Equatable, Sendable {
    /// So many bytes were moved (at least one).
    case moved(Int)
    /// Nothing can be moved now; epoll will tell when it can.
    case wouldBlock
    /// The peer has ended its side (reads only).
    case ended
    /// The connection is broken; the errno says why.
    case failed(SystemCallError)
}
