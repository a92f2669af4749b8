// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// A shared mapping of a whole region, which is unmapped at the end of its lifetime.
@safe
package struct MemoryMapping: ~Copyable {
    /// The mapped bytes; valid for as long as this value lives.
    package let bytes: UnsafeMutableRawBufferPointer

    /// Maps the whole region at its current size, readable and writable.
    package init(of descriptor: Int32) throws(SystemCallError) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .last("fstat") }
        let flags = MAP_SHARED | MAP_NORESERVE
        let address = unsafe mmap(nil, status.st_size, PROT_READ | PROT_WRITE, flags, descriptor, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else { throw .last("mmap") }
        unsafe bytes = UnsafeMutableRawBufferPointer(start: address, count: status.st_size)
        // A worker that crashes is replaced when it has ended, and it ends only after its core dump is written.
        _ = unsafe martlet_do_not_dump(address, status.st_size)
    }

    /// Gives the memory of a page-aligned range back to the system; it reads as zero afterwards.
    package func discard(offset: Int, count: Int) {
        unsafe precondition(offset >= 0 && count >= 0 && offset + count <= bytes.count, "range outside of the mapping")
        _ = unsafe martlet_punch(bytes.baseAddress.map { unsafe $0 + offset }, count)
    }

    deinit {
        _ = unsafe munmap(bytes.baseAddress, bytes.count)
    }
}
