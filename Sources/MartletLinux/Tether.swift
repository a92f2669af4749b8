// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// A SOCK_SEQPACKET socket by which the next supervisor finds a process that has lost its own, and gives it
/// descriptors.
///
/// The process lives as long as somebody holds the other end: end of file means that no supervisor will come any more.
package final class Tether {
    /// What was received.
    package enum Word: Equatable, Sendable {
        /// Nothing has come yet.
        case none
        /// Descriptors, which are ours now.
        case descriptors([Int32])
        /// The other end is gone, or has sent something malformed.
        case ended
    }

    private static let mark: UInt8 = 0x74

    package let descriptor: Int32

    /// Takes over a connected SEQPACKET socket.
    package init(owning descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit { closeDescriptor(descriptor) }

    /// Passes descriptors, which we also keep; false if the other end is gone or takes nothing.
    package func send(_ descriptors: [Int32]) -> Bool {
        var mark = Self.mark
        return unsafe martlet_send_descriptors(descriptor, &mark, 1, descriptors, Int32(descriptors.count)) == 1
    }

    /// Receives at most so many descriptors.
    package func receive(most: Int) -> Word {
        var mark: UInt8 = 0
        var descriptors = [Int32](repeating: -1, count: most)
        var count: Int32 = 0
        var truncated: Int32 = 0
        let length = unsafe martlet_receive_descriptors(
            descriptor,
            &mark,
            1,
            &descriptors,
            Int32(most),
            &count,
            &truncated
        )
        if length < 0, errno == EAGAIN { return .none }
        let received = Array(descriptors.prefix(Int(max(0, count))))
        if length == 1, mark == Self.mark, truncated == 0 { return .descriptors(received) }
        received.forEach(closeDescriptor)
        return .ended
    }
}
