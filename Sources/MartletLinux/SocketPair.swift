// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// The two ends of a connected pair of Unix sockets, both non-blocking and close-on-exec.
package struct SocketPair: ~Copyable {
    package enum Kind: Sendable {
        /// A byte stream.
        case stream
        /// Messages that keep their boundaries and their descriptors (SOCK_SEQPACKET).
        case packets
    }

    private let first: OwnedDescriptor
    private let second: OwnedDescriptor

    package init(_ kind: Kind) throws(SystemCallError) {
        let type = kind == .stream ? SOCK_STREAM : SOCK_SEQPACKET
        var numbers: (Int32, Int32) = (-1, -1)
        let result = unsafe withUnsafeMutableBytes(of: &numbers) { bytes in
            unsafe martlet_socket_pair(Int32(type.rawValue), bytes.assumingMemoryBound(to: Int32.self).baseAddress)
        }
        guard result == 0 else { throw .last("socketpair") }
        first = OwnedDescriptor(owning: numbers.0)
        second = OwnedDescriptor(owning: numbers.1)
    }

    /// Returns both ends, which the caller owns from now on.
    package consuming func split() -> (Int32, Int32) {
        (first.release(), second.release())
    }
}
