internal import Glibc

/// A Unix socket's file, as it is now: so that who made it removes it in the end, and nothing else of that name.
package struct SocketFile: Equatable, Sendable {
    package let path: String
    private let device: UInt
    private let number: UInt

    /// Nil where there is no such file, or it is no socket.
    package init?(_ path: String) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
        self.path = path
        device = status.st_dev
        number = status.st_ino
    }

    /// Removes it, unless another file has its name by now.
    package func remove() {
        if SocketFile(path) == self { _ = unsafe unlink(path) }
    }
}
