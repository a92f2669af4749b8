// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A file descriptor with one owner: it cannot be copied, and it is closed exactly once, at the end of its lifetime.
package struct OwnedDescriptor: ~Copyable {
    /// The kernel's number.
    ///
    /// Valid for as long as this value lives.
    package let number: Int32

    /// Takes over a descriptor that nobody else will close.
    package init(owning number: Int32) {
        self.number = number
    }

    /// Gives up the descriptor without closing it; the caller owns the number from now on.
    package consuming func release() -> Int32 {
        let number = number
        discard self
        return number
    }

    deinit {
        _ = Glibc.close(number)
    }
}

/// Closes a bare descriptor number that the caller owns (one that lives in a table, where an ``OwnedDescriptor`` cannot).
package func closeDescriptor(_ number: Int32) {
    _ = Glibc.close(number)
}

/// Returns a number that identifies a socket or a region of memory in all processes, while it exists; 0: not open.
package func descriptorIdentity(_ number: Int32) -> UInt64 {
    var status = stat()
    return unsafe fstat(number, &status) == 0 ? UInt64(status.st_ino) : 0
}
