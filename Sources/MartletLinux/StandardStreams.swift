// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Standard output of a command-line tool: each text is written at once, so that the reader of a pipe gets it.
package enum StandardOutput {
    // Unchecked: a command-line tool has one thread.
    nonisolated(unsafe) private static var isClosed = false

    /// True when nobody reads any more, as with `| head -1`: a command that only shows something can end then.
    package static var isUnread: Bool { unsafe isClosed }

    /// Writes a text, or drops it if nobody reads any more, so that a command with other effects goes on.
    ///
    /// Throws if it cannot be written: a full disk is an error.
    package static func print(_ text: String, terminator: String = "\n") throws(SystemCallError) {
        if isUnread { return }
        let bytes = Array((text + terminator).utf8)
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.write(1, buffer.baseAddress.map { unsafe $0 + written }, buffer.count - written)
            }
            if count >= 0 {
                written += count
            } else if errno == EPIPE {
                unsafe isClosed = true
                return
            } else if errno == EAGAIN {
                var room = pollfd(fd: 1, events: Int16(POLLOUT), revents: 0)
                _ = unsafe poll(&room, 1, -1)
            } else if errno != EINTR {
                throw .last("write to standard output")
            }
        }
    }
}

/// Reads all of standard input.
package enum StandardInput {
    package static func readAll() throws(SystemCallError) -> [UInt8] {
        var all: [UInt8] = []
        while true {
            let piece = try BlockingStream.read(0, atMost: 65536)
            if piece.isEmpty { return all }
            all += piece
        }
    }
}
