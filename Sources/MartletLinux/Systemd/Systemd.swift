internal import CSystemd
internal import Glibc
package import MartletLinux

/// What a service manager gives us and hears from us (sd-daemon(3)).
///
/// Without one every call is harmless.
package enum Systemd {
    /// A socket that the service manager opened for us.
    package struct InheritedDescriptor: Sendable {
        package let number: Int32
        /// `FileDescriptorName=` of the socket unit.
        package let name: String
    }

    /// The descriptors that were passed to this process (sd_listen_fds_with_names(3)); asks once, then forgets.
    package static func inheritedDescriptors() throws(SystemCallError) -> [InheritedDescriptor] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = unsafe sd_listen_fds_with_names(1, &names)
        guard count >= 0 else { throw SystemCallError("sd_listen_fds_with_names", -count) }
        defer {
            if let names = unsafe names {
                var index = 0
                while let name = unsafe names[index] {
                    unsafe free(name)
                    index += 1
                }
                unsafe free(names)
            }
        }
        return (0..<Int(count)).map { index in
            let name = unsafe names.flatMap { unsafe $0[index] }.map { unsafe String(cString: $0) } ?? ""
            return InheritedDescriptor(number: 3 + Int32(index), name: name)
        }
    }

    /// Tells the service manager the new state, as `READY=1` or `STATUS=...` lines.
    package static func notify(_ state: String) {
        _ = unsafe sd_notify(0, state)
    }
}
