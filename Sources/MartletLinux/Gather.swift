// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// Pieces of memory that are sent in one write (sendmsg(2)), without being copied together first.
@safe
package struct Gather: ~Copyable {
    /// The most pieces in one write.
    package static let capacity = 64

    private let pieces = UnsafeMutableBufferPointer<iovec>.allocate(capacity: capacity)
    /// How many pieces were appended since the last ``removeAll()``.
    package private(set) var count = 0
    /// How many bytes these pieces have.
    package private(set) var byteCount = 0

    package init() {}

    package var isFull: Bool { count == Self.capacity }

    /// Adds a piece, whose memory must not change until the write.
    @unsafe
    package mutating func append(_ start: UnsafeRawPointer, _ length: Int) {
        precondition(count < Self.capacity, "a gather list is full")
        unsafe pieces[count] = iovec(iov_base: UnsafeMutableRawPointer(mutating: start), iov_len: length)
        count += 1
        byteCount += length
    }

    package mutating func removeAll() {
        count = 0
        byteCount = 0
    }

    /// Writes as much of what was appended as the socket takes.
    package func send(to socket: Int32) -> StreamOutcome {
        var message = unsafe msghdr()
        unsafe message.msg_iov = pieces.baseAddress
        unsafe message.msg_iovlen = count
        let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        return StreamSocket.outcome(ofWrite: unsafe sendmsg(socket, &message, flags), "sendmsg")
    }

    deinit {
        unsafe pieces.deallocate()
    }
}
