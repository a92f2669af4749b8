// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Blocking reads and writes, for command-line tools.
package enum BlockingStream {
    /// Writes everything.
    package static func write(_ descriptor: Int32, _ bytes: [UInt8]) throws(SystemCallError) {
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.send(
                    descriptor,
                    buffer.baseAddress.map { unsafe $0 + written },
                    buffer.count - written,
                    Int32(MSG_NOSIGNAL)
                )
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .last("send") }
            written += count
        }
    }

    /// Reads the available bytes, after waiting for the first one; empty at the end of the stream.
    package static func read(_ descriptor: Int32, atMost limit: Int) throws(SystemCallError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: limit)
        while true {
            let count = unsafe bytes.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .last("read") }
            bytes.removeLast(limit - count)
            return bytes
        }
    }
}
