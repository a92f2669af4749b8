// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// Memory that several processes can map, and that lives as long as any descriptor of it is open (memfd_create(2)).
package enum SharedMemory {
    /// Makes a region of that many bytes, all zero, whose size nobody can change.
    ///
    /// If a region shrank, every process that has it mapped would end (SIGBUS). Pages cost memory only once they are
    /// touched.
    package static func fixed(name: String, byteCount: Int) throws(SystemCallError) -> OwnedDescriptor {
        let descriptor = OwnedDescriptor(owning: unsafe martlet_memfd(name, 1))
        guard descriptor.number >= 0 else { throw .last("memfd_create") }
        guard ftruncate(descriptor.number, byteCount) == 0 else { throw .last("ftruncate") }
        guard martlet_fix_size(descriptor.number) == 0 else { throw .last("fcntl(F_ADD_SEALS)") }
        return descriptor
    }

    /// Returns true if nobody can change the region's size.
    package static func isFixed(_ descriptor: Int32) -> Bool { martlet_has_fixed_size(descriptor) == 1 }

    /// Makes a region of that many zero bytes, which grows when it is written; for processes that trust each other.
    package static func create(name: String, byteCount: Int) throws(SystemCallError) -> OwnedDescriptor {
        let descriptor = OwnedDescriptor(owning: unsafe martlet_memfd(name, 0))
        guard descriptor.number >= 0 else { throw .last("memfd_create") }
        guard ftruncate(descriptor.number, byteCount) == 0 else { throw .last("ftruncate") }
        return descriptor
    }

    /// Makes a sealed region that holds these bytes, and that nobody can change any more.
    package static func sealed(name: String, bytes: [UInt8]) throws(SystemCallError) -> OwnedDescriptor {
        let descriptor = OwnedDescriptor(owning: unsafe martlet_memfd(name, 1))
        guard descriptor.number >= 0 else { throw .last("memfd_create") }
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe pwrite(
                    descriptor.number,
                    buffer.baseAddress.map { unsafe $0 + written },
                    bytes.count - written,
                    written
                )
            }
            guard count > 0 else { throw .last("pwrite") }
            written += count
        }
        guard martlet_seal(descriptor.number) == 0 else { throw .last("fcntl(F_ADD_SEALS)") }
        return descriptor
    }

    /// Writes bytes at an offset of a region, which grows if necessary.
    package static func write(_ bytes: [UInt8], to descriptor: Int32, at offset: Int = 0) throws(SystemCallError) {
        let count = unsafe bytes.withUnsafeBytes { unsafe pwrite(descriptor, $0.baseAddress, $0.count, offset) }
        guard count == bytes.count else { throw .last("pwrite") }
    }

    /// Returns everything that a region or a file holds, at most `limit` bytes.
    package static func contents(of descriptor: Int32, limit: Int) throws(SystemCallError) -> [UInt8] {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .last("fstat") }
        guard status.st_size <= limit else { throw SystemCallError("read", EFBIG) }
        var bytes = [UInt8](repeating: 0, count: status.st_size)
        var have = 0
        while have < bytes.count {
            let count = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe pread(descriptor, buffer.baseAddress.map { unsafe $0 + have }, buffer.count - have, have)
            }
            guard count > 0 else { throw .last("pread") }
            have += count
        }
        return bytes
    }
}
