// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// How far the two streams of a TCP connection have come, and whether it is over.
package struct KernelStream: Equatable, Sendable {
    package let written: UInt64
    package let read: UInt64
    /// Whether it was reset, or ended on both sides: nothing will be received or sent any more.
    package let isOver: Bool

    /// Asks the kernel about a socket; nil if it is not a connection.
    package init?(of socket: Int32) {
        var written: UInt64 = 0
        var read: UInt64 = 0
        var state: Int32 = 0
        guard unsafe martlet_stream_positions(socket, &written, &read, &state) == 0 else { return nil }
        self.written = written
        self.read = read
        isOver = state == 7  // TCP_CLOSE
    }

    /// Asks the kernel about a socket from which this process has read so many bytes; nil if it is not a connection.
    ///
    /// This takes one call if no more have come, and nothing that was sent is under way. Whoever only believes to know
    /// how many were read asks without this number.
    package init?(of socket: Int32, havingRead expected: UInt64) {
        var written: UInt64 = 0
        var read: UInt64 = 0
        var state: Int32 = 0
        guard unsafe martlet_stream_beginning(socket, expected, &written, &read, &state) == 0 else { return nil }
        self.written = written
        self.read = read
        isOver = state == 7  // TCP_CLOSE
    }
}
