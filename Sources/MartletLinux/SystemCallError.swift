// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A system call that the kernel refused.
package struct SystemCallError: Error, Equatable, CustomStringConvertible {
    /// The call's name, as its manual page spells it.
    package let call: String
    /// The `errno(3)` with which it failed.
    package let number: Int32

    package init(_ call: String, _ number: Int32) {
        self.call = call
        self.number = number
    }

    /// Makes the error of a limit of open files that is too small (EMFILE).
    package static func tooFewDescriptors(_ what: String) -> SystemCallError { SystemCallError(what, EMFILE) }
    /// Makes the error of a limit of file sizes that is too small (EFBIG).
    package static func tooSmallFiles(_ what: String) -> SystemCallError { SystemCallError(what, EFBIG) }

    package var description: String {
        let text = unsafe strerror(number).map { unsafe String(cString: $0) } ?? "error \(number)"
        return "\(call): \(text)"
    }

    /// Makes the error that `errno` holds now.
    package static func last(_ call: String) -> SystemCallError {
        SystemCallError(call, errno)
    }

    /// True if the kernel has given up the peer (ETIMEDOUT).
    package var isGivenUp: Bool { number == ETIMEDOUT }
    package var isAddressInUse: Bool { number == EADDRINUSE }
    /// True if another file is in the way (EEXIST).
    package var isExisting: Bool { number == EEXIST }
    package var isNotFound: Bool { number == ENOENT }
    package var isTimeout: Bool { number == EAGAIN }
    package var isDenied: Bool { number == EACCES || number == EPERM }
}
