// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Reads small files, and makes folders.
package enum File {
    /// Returns the whole contents of a file of at most `limit` bytes.
    package static func read(_ path: String, limit: Int) throws(SystemCallError) -> [UInt8] {
        let descriptor = OwnedDescriptor(owning: unsafe open(path, O_RDONLY | O_CLOEXEC))
        guard descriptor.number >= 0 else { throw .last("open \(path)") }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = unsafe piece.withUnsafeMutableBytes {
                unsafe Glibc.read(descriptor.number, $0.baseAddress, $0.count)
            }
            if count < 0 { throw .last("read \(path)") }
            if count == 0 { return bytes }
            bytes += piece[..<count]
            if bytes.count > limit { throw SystemCallError("read \(path)", EFBIG) }
        }
    }

    /// Makes a directory; it is not an error if the directory exists and is ours.
    package static func makeDirectory(_ path: String, mode: UInt32) throws(SystemCallError) {
        if unsafe mkdir(path, mode) == 0 { return }
        guard errno == EEXIST else { throw .last("mkdir \(path)") }
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { throw .last("lstat \(path)") }
        // If another user made the folder in a shared place, that user could take over our socket.
        guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid() else {
            throw SystemCallError("mkdir \(path)", EEXIST)
        }
    }

    /// Returns true if any user of the machine may read the file.
    package static func isReadableByAll(_ path: String) -> Bool {
        var status = stat()
        return unsafe stat(path, &status) == 0 && status.st_mode & S_IROTH != 0
    }

    package static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    package static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}
