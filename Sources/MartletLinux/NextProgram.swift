// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// The program that this process becomes, with the same process id, children and sockets (execve(2)).
package enum NextProgram {
    /// Becomes the program of a file; returns only if that has failed.
    ///
    /// - Parameters:
    ///   - path: The file, which is looked up now, so that it may be another program than the current one.
    ///   - arguments: All arguments, beginning with the program's name.
    ///   - environment: `NAME=value` strings.
    /// - Returns: Why it has failed.
    package static func become(
        _ path: String,
        arguments: [String],
        environment: [String]
    ) -> SystemCallError {
        var arguments = unsafe pointers(arguments)
        var environment = unsafe pointers(environment)
        unsafe execve(path, &arguments, &environment)
        let error = SystemCallError.last("execve \(path)")
        unsafe (arguments + environment).forEach { unsafe free($0) }
        return error
    }

    /// Becomes a program that is already open, even if its file is gone (fexecve(3)); returns only if that has failed.
    package static func become(
        descriptor: Int32,
        arguments: [String],
        environment: [String]
    ) -> SystemCallError {
        var arguments = unsafe pointers(arguments)
        var environment = unsafe pointers(environment)
        unsafe fexecve(descriptor, &arguments, &environment)
        let error = SystemCallError.last("fexecve")
        unsafe (arguments + environment).forEach { unsafe free($0) }
        return error
    }

    /// Opens our own program, for ``become(descriptor:arguments:environment:)``.
    package static func current() throws(SystemCallError) -> OwnedDescriptor {
        let descriptor = unsafe open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .last("open /proc/self/exe") }
        return OwnedDescriptor(owning: descriptor)
    }

    /// Sets whether a descriptor stays open in the next program.
    package static func keep(_ descriptor: Int32, _ isKept: Bool) { _ = martlet_inherit(descriptor, isKept ? 1 : 0) }

    private static func pointers(_ strings: [String]) -> [UnsafeMutablePointer<CChar>?] {
        unsafe strings.map { unsafe strdup($0) } + [nil]
    }
}
