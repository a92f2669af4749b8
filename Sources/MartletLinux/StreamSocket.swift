// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// Non-blocking reads and writes of sockets that are given by number; none of them raises SIGPIPE.
package enum StreamSocket {
    /// Returns true if the peer of a Unix socket is gone, even if bytes still wait to be read (POLLHUP).
    package static func hasEnded(_ descriptor: Int32) -> Bool {
        var watched = pollfd(fd: descriptor, events: 0, revents: 0)
        return unsafe poll(&watched, 1, 0) == 1
    }

    private static let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)

    /// Sends as many of the bytes as fit into the socket's buffer.
    @unsafe
    package static func send(_ socket: Int32, _ start: UnsafeRawPointer, _ count: Int) -> StreamOutcome {
        outcome(ofWrite: unsafe Glibc.send(socket, start, count, flags), "send")
    }

    package static func send(_ socket: Int32, _ bytes: Span<UInt8>) -> StreamOutcome {
        unsafe bytes.withUnsafeBytes { buffer in
            guard let start = buffer.baseAddress else { return .wouldBlock }
            return unsafe send(socket, start, buffer.count)
        }
    }

    /// Sends as many of an array's bytes as fit, beginning with the one at `start`.
    package static func send(_ socket: Int32, _ bytes: [UInt8], from start: Int) -> StreamOutcome {
        send(socket, bytes.span.extracting(start...))
    }

    /// Receives into memory that the caller owns.
    @unsafe
    package static func receive(_ socket: Int32, _ start: UnsafeMutableRawPointer, _ capacity: Int) -> StreamOutcome {
        let count = unsafe recv(socket, start, capacity, Int32(MSG_DONTWAIT))
        if count > 0 { return .moved(count) }
        if count == 0 { return .ended }
        return isPassing(errno) ? .wouldBlock : .failed(.last("recv"))
    }

    /// Receives at most `room` bytes, and appends them to an array.
    package static func receive(_ socket: Int32, appendingTo bytes: inout [UInt8], room: Int) -> StreamOutcome {
        unsafe withUnsafeTemporaryAllocation(byteCount: room, alignment: 16) { buffer in
            guard let start = buffer.baseAddress else { return .wouldBlock }
            let outcome = unsafe receive(socket, start, room)
            if case .moved(let count) = outcome {
                unsafe bytes.append(contentsOf: UnsafeRawBufferPointer(start: start, count: count))
            }
            return outcome
        }
    }

    /// Ends our direction: the peer reads an end of file after everything that was sent before.
    package static func shutdownWriting(_ socket: Int32) {
        _ = shutdown(socket, Int32(SHUT_WR))
    }

    /// Writes as much of a last answer as the socket takes at once, and closes the socket.
    ///
    /// Our end of file is sent first, so that the peer reads the answer before the connection is gone.
    package static func answerAndClose(_ socket: Int32, _ answer: [UInt8]) {
        _ = send(socket, answer.span)
        shutdownWriting(socket)
        closeDescriptor(socket)
    }

    /// Sends small writes at once (TCP_NODELAY).
    ///
    /// Accepted sockets inherit this from their listener. It has no effect on a Unix socket, and is not an error.
    package static func setNoDelay(_ socket: Int32) {
        _ = martlet_set_no_delay(socket)
    }

    /// Returns true for a TCP socket that does not listen, so that it is, or was, a client's.
    package static func isConnection(_ socket: Int32) -> Bool { martlet_is_tcp_connection(socket) == 1 }

    /// Returns true for a Unix socket.
    package static func isUnix(_ socket: Int32) -> Bool { martlet_is_unix(socket) == 1 }

    /// Makes urgent bytes (tcp(7), MSG_OOB) a normal part of the stream (SO_OOBINLINE).
    ///
    /// Otherwise the kernel's counts of the stream do not add up. Accepted sockets inherit this from their listener.
    package static func setUrgentInline(_ socket: Int32) {
        _ = martlet_set_urgent_inline(socket)
    }

    /// Makes the kernel detect that the peer has vanished, or takes nothing of what was sent, within some seconds.
    ///
    /// This sets SO_KEEPALIVE and TCP_USER_TIMEOUT. Accepted sockets inherit it from their listener. It has no effect
    /// on a Unix socket, and is not an error.
    package static func findVanished(_ socket: Int32, seconds: Int) {
        _ = martlet_find_vanished(socket, Int32(seconds))
    }

    /// Makes a blocking read or write that takes longer fail with EAGAIN.
    package static func setTimeouts(_ socket: Int32, seconds: Int) {
        _ = martlet_set_timeouts(socket, Int32(seconds))
    }

    /// Asks the kernel for socket buffers of this size.
    package static func setBuffers(_ socket: Int32, receive: Int, send: Int) {
        _ = martlet_set_buffer(socket, Int32(receive), Int32(send))
    }

    /// Returns how many bytes have arrived and were not received (SIOCINQ, tcp(7)).
    package static func unreadBytes(_ socket: Int32) -> Int { Int(martlet_unread_bytes(socket)) }

    /// Returns how many bytes were sent that the peer's kernel has not acknowledged (SIOCOUTQ, tcp(7)).
    package static func unsentBytes(_ socket: Int32) -> Int { Int(martlet_unsent_bytes(socket)) }

    /// Returns the kernel's number for this socket, which is the same in every process that holds it (SO_COOKIE).
    package static func cookie(_ socket: Int32) -> UInt64 {
        var cookie: UInt64 = 0
        return unsafe martlet_socket_cookie(socket, &cookie) == 0 ? cookie : 0
    }

    /// Returns true for what is over soon: nothing to read, no room, or no memory in the kernel.
    private static func isPassing(_ error: Int32) -> Bool {
        error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM
    }

    static func outcome(ofWrite count: Int, _ call: String) -> StreamOutcome {
        if count > 0 { return .moved(count) }
        if count == 0 || isPassing(errno) { return .wouldBlock }
        return .failed(.last(call))
    }
}
