// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A program that is open, so that it can be started as it is now, even when its file has been replaced or removed.
package struct ProgramFile: Sendable {
    /// The path where it was found.
    package let path: String
    /// The descriptor, which stays open for as long as the process lives, or until ``close()``.
    package let descriptor: Int32

    /// Opens the program of a file.
    package init(opening path: String) throws(SystemCallError) {
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .last("open \(path)") }
        self.path = path
    }

    /// Takes over a program that is already open.
    package init(path: String, owning descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    /// A text that differs from that of any other file, and from that of this file after a change.
    package var identity: String {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return "" }
        return "\(status.st_dev):\(status.st_ino):\(status.st_size):\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
    }

    package func close() { closeDescriptor(descriptor) }
}
