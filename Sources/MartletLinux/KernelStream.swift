internal import CMartletLinux
internal import Glibc

/// Where a TCP connection's streams stand, and in which state it is.
package struct KernelStream: Equatable, Sendable {
    package let written: UInt64
    package let read: UInt64
    /// It was reset, or ended on both sides: nothing will come or leave any more.
    package let isOver: Bool

    /// Asks the kernel; nil where it is no connection.
    package init?(of socket: Int32) {
        var written: UInt64 = 0
        var read: UInt64 = 0
        var state: Int32 = 0
        guard unsafe martlet_stream_positions(socket, &written, &read, &state) == 0 else { return nil }
        self.written = written
        self.read = read
        isOver = state == 7  // TCP_CLOSE
    }
}
