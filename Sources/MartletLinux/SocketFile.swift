// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The file of a Unix socket as it is now, so that its maker later removes this file, and no other with its name.
package struct SocketFile: Equatable, Sendable {
    package let path: String
    private let device: UInt
    private let number: UInt

    /// Looks up a file; nil if there is no such file, or it is not a socket.
    package init?(_ path: String) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
        self.path = path
        device = status.st_dev
        number = status.st_ino
    }

    /// Removes the file, unless another file has its name by now.
    package func remove() {
        if SocketFile(path) == self { _ = unsafe unlink(path) }
    }
}
