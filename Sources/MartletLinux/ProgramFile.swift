internal import Glibc

/// A program that is open, so that it can be started as it is now even when its file is replaced or gone.
package struct ProgramFile: Sendable {
    /// Where it was found.
    package let path: String
    /// Stays open for as long as the process lives, or until ``close()``.
    package let descriptor: Int32

    /// Opens the program of a file.
    package init(opening path: String) throws(SystemCallError) {
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .last("open \(path)") }
        self.path = path
    }

    /// One that is open already.
    package init(path: String, owning descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    /// Tells the file's contents from those of another file, or of this one at another time.
    package var identity: String {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return "" }
        return "\(status.st_dev):\(status.st_ino):\(status.st_size):\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
    }

    package func close() { closeDescriptor(descriptor) }
}
