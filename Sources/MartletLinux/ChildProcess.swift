// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// A child process with chosen descriptors, watched by a pidfd(2).
package final class ChildProcess: SupervisedProcess, Sendable {
    package let pid: Int32
    private let pidfd: OwnedDescriptor

    package var handle: Int32 { pidfd.number }

    /// Starts a program.
    ///
    /// Call it on the main thread.
    ///
    /// In the child, `descriptors[i]` is number `3 + i`; 0, 1 and 2 are inherited, everything else is closed; no signal
    /// is blocked and every disposition is the default.
    ///
    /// - Parameters:
    ///   - path: The program's file.
    ///   - arguments: The arguments after the program's name.
    ///   - environment: The whole environment of the child, as `NAME=value` strings.
    ///   - descriptors: Numbers that the caller continues to own.
    /// - Throws: The system call that failed.
    package convenience init(
        path: String,
        arguments: [String],
        environment: [String],
        descriptors: [Int32]
    ) throws(SystemCallError) {
        try self.init(path, program: nil, arguments, environment, descriptors, errors: nil)
    }

    /// Starts a program that is open, even if its file has been replaced; it must not be a script.
    ///
    /// `errors` is where its standard error goes; nil: where ours goes.
    package convenience init(
        program: ProgramFile,
        arguments: [String],
        environment: [String],
        descriptors: [Int32],
        errors: Int32? = nil
    ) throws(SystemCallError) {
        try self.init(program.path, program: program.descriptor, arguments, environment, descriptors, errors: errors)
    }

    private init(
        _ path: String,
        program: Int32?,
        _ arguments: [String],
        _ environment: [String],
        _ descriptors: [Int32],
        errors: Int32?
    ) throws(SystemCallError) {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        if let errors { unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2) }
        // Two passes, so that no source number in the target range is overwritten before it is used.
        let passed = descriptors + (program.map { [$0] } ?? [])
        let parked = (passed.max() ?? 0) + Int32(passed.count) + 16
        for (index, descriptor) in passed.enumerated() {
            unsafe posix_spawn_file_actions_adddup2(&actions, descriptor, parked + Int32(index))
        }
        let last = 3 + Int32(descriptors.count)
        for index in 0..<Int32(descriptors.count) {
            unsafe posix_spawn_file_actions_adddup2(&actions, parked + index, 3 + index)
        }
        if program != nil {
            // Opened again, so that it is close-on-exec: the child does not keep its own program open.
            let source = "/proc/self/fd/\(parked + Int32(descriptors.count))"
            unsafe posix_spawn_file_actions_addopen(&actions, last, source, O_RDONLY | O_CLOEXEC, 0)
        }
        _ = unsafe martlet_close_from(&actions, last + 1)

        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        unsafe sigemptyset(&none)
        unsafe sigfillset(&all)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF))

        var argumentPointers = unsafe ([path] + arguments).map { unsafe strdup($0) } + [nil]
        var environmentPointers = unsafe environment.map { unsafe strdup($0) } + [nil]
        defer { unsafe (argumentPointers + environmentPointers).forEach { unsafe free($0) } }
        var pid: pid_t = 0
        let result = unsafe posix_spawn(
            &pid,
            program == nil ? path : "/proc/self/fd/\(last)",
            &actions,
            &attributes,
            &argumentPointers,
            &environmentPointers
        )
        guard result == 0 else { throw SystemCallError("start \(path)", result) }
        let handle = martlet_pidfd_open(pid)
        guard handle >= 0 else {
            let error = SystemCallError.last("pidfd_open")
            _ = Glibc.kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
            throw error
        }
        self.pid = pid
        pidfd = OwnedDescriptor(owning: handle)
    }

    /// Adopts a child that this process already had when it was another program (``NextProgram``).
    package init(adopting pid: Int32) throws(SystemCallError) {
        let handle = martlet_pidfd_open(pid)
        guard handle >= 0 else { throw .last("pidfd_open") }
        self.pid = pid
        pidfd = OwnedDescriptor(owning: handle)
    }

    package func reap() -> ProcessEnd? {
        var status: Int32 = 0
        let found = unsafe waitpid(pid, &status, WNOHANG)
        // A child that a previous process has adopted is not ours: its parent collects it.
        if found < 0, errno == ECHILD { return hasEnded ? .unknown : nil }
        guard found == pid else { return nil }
        let signal = status & 0x7F
        return signal == 0 ? .exited(code: (status >> 8) & 0xFF) : .killed(signal: signal)
    }

    private var hasEnded: Bool {
        var ready = pollfd(fd: handle, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&ready, 1, 0) == 1
    }

    /// Waits until the process has ended, and collects it; false if it still runs after this time.
    package func waitForEnd(milliseconds: Int32) -> Bool {
        var ready = pollfd(fd: handle, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&ready, 1, milliseconds) == 1 else { return false }
        return reap() != nil
    }

    package func abort() {
        _ = martlet_pidfd_signal(handle, SIGABRT)
    }

    package func kill() {
        _ = martlet_pidfd_signal(handle, SIGKILL)
    }
}
