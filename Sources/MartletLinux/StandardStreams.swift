internal import Glibc

/// Standard output of a command-line tool: each text is written at once, so that whoever reads a pipe has it.
package enum StandardOutput {
    // Unchecked: a command-line tool has one thread.
    nonisolated(unsafe) private static var isClosed = false

    /// Nobody reads any more, as behind `| head -1`: who only shows something is done.
    package static var isUnread: Bool { unsafe isClosed }

    /// Writes a text; where nobody reads any more it is dropped, and whoever does something goes on with it.
    ///
    /// Throws where it cannot be written: a full disk is no success.
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

/// Standard input, whole.
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
