internal import Glibc

/// A system call that the kernel refused.
package struct SystemCallError: Error, Equatable, CustomStringConvertible {
    /// The call's name, as its manual page spells it.
    package let call: String
    /// The `errno(3)` it failed with.
    package let number: Int32

    package init(_ call: String, _ number: Int32) {
        self.call = call
        self.number = number
    }

    /// A limit of open files that is too small (EMFILE).
    package static func tooFewDescriptors(_ what: String) -> SystemCallError { SystemCallError(what, EMFILE) }
    /// A limit of the size of files that is too small (EFBIG).
    package static func tooSmallFiles(_ what: String) -> SystemCallError { SystemCallError(what, EFBIG) }

    package var description: String {
        let text = unsafe strerror(number).map { unsafe String(cString: $0) } ?? "error \(number)"
        return "\(call): \(text)"
    }

    /// The failure that `errno` holds just now.
    package static func last(_ call: String) -> SystemCallError {
        SystemCallError(call, errno)
    }

    package var isOutOfDescriptors: Bool { number == EMFILE || number == ENFILE }
    /// ETIMEDOUT: the kernel has given the peer up.
    package var isGivenUp: Bool { number == ETIMEDOUT }
    package var isAddressInUse: Bool { number == EADDRINUSE }
    /// EEXIST: another file is in the way.
    package var isExisting: Bool { number == EEXIST }
    package var isNotFound: Bool { number == ENOENT }
    package var isRefused: Bool { number == ECONNREFUSED }
    package var isTimeout: Bool { number == EAGAIN }
    package var isDenied: Bool { number == EACCES || number == EPERM }
}
