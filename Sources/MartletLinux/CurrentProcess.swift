// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// Facts about the current process, and its limits.
package enum CurrentProcess {
    package static var pid: Int32 { getpid() }

    /// Sets the name that ps(1) and top(1) show: at most 15 characters (PR_SET_NAME of prctl(2)).
    package static func setName(_ name: String) { _ = unsafe martlet_set_name(name) }

    /// Blocks the current thread for a time.
    package static func pause(milliseconds: Int) {
        _ = poll(nil, 0, Int32(clamping: milliseconds))
    }

    /// How many CPUs this process may use: those that it may run on, but no more than its quota is worth.
    package static var usableCPUs: Int {
        let affinity = max(1, Int(martlet_usable_cpus()))
        return min(affinity, CPUQuota.cpus ?? affinity)
    }

    /// How many descriptors are open now.
    package static var openDescriptors: Int { Int(martlet_open_descriptors()) }

    /// Makes room in the descriptor table for so many descriptors, in one step.
    ///
    /// A table that is shared with a keeper grows slowly: each doubling waits some 8 ms for all CPUs.
    package static func reserveDescriptors(_ count: Int) {
        _ = martlet_reserve_descriptors(Int32(clamping: count))
    }

    /// Raises the soft limit of open files to the hard limit, and returns it.
    @discardableResult
    package static func raiseDescriptorLimit() -> Int {
        var limit = rlimit()
        unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return Int(clamping: limit.rlim_cur)
    }

    /// Returns the resident memory in bytes (the second field of proc_pid_statm(5), which is in pages).
    package static func residentBytes() -> Int {
        guard let text = try? File.read("/proc/self/statm", limit: 4096) else { return 0 }
        let fields = text.split(separator: UInt8(ascii: " "))
        guard fields.count > 1, let pages = Int(String(decoding: fields[1], as: UTF8.self)) else { return 0 }
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }

    /// Opens /dev/null for each of the descriptors 0, 1 and 2 that is closed; call this first in main.
    ///
    /// Otherwise the first sockets and files that the process opens get these numbers, and what it prints goes to them.
    package static func openStandardDescriptors() {
        for number: Int32 in 0...2 where fcntl(number, F_GETFD) < 0 {
            // The kernel gives us the lowest free number, which is this one.
            // If 1 was closed, writing to it remains an error.
            _ = unsafe open("/dev/null", number == 2 ? O_WRONLY : O_RDONLY)
        }
    }

    /// Raises the soft limit of file sizes, which also applies to shared memory, to the hard limit, and returns it.
    package static func raiseFileSizeLimit() -> Int {
        var limit = rlimit()
        unsafe getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
        return Int(clamping: limit.rlim_cur)
    }

    /// Returns the value of an environment variable; nil if it is not set, or empty.
    package static func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
        return unsafe String(cString: value)
    }

    /// Makes traps and aborts print where they happened on standard error, before they end the process.
    package static func reportTraps(as name: String) { _ = unsafe martlet_report_traps(name) }

    /// Changes the name in the reports of traps, once more is known about who we are.
    package static func nameTraps(_ name: String) { unsafe martlet_name_traps(name) }

    /// Gives up, for good, all that a process does not need if it only talks over the sockets that it was given.
    ///
    /// From here on it can start no program or process, make no socket, change no file, and send signals only to itself
    /// (seccomp(2), EPERM).
    package static func confine() throws(SystemCallError) {
        guard martlet_confine() == 0 else { throw .last("seccomp") }
    }

    /// Hides the memory of this process from other processes of the same user, and keeps it out of core dumps.
    package static func hideMemory() { _ = martlet_hide_memory() }

    /// Signals that a process can send to itself.
    package enum OwnSignal: Sendable {
        case kill, stop
    }

    package static func send(_ signal: OwnSignal) {
        switch signal {
        case .kill: _ = kill(getpid(), SIGKILL)
        case .stop: _ = kill(getpid(), SIGSTOP)
        }
    }

    /// Lowers the limit of open files for good.
    package static func limitDescriptors(_ count: Int) { _ = martlet_limit_descriptors(Int32(clamping: count)) }

    /// Reads a byte beyond allocated memory, in debug builds, to test that AddressSanitizer finds this.
    package static func readBeyondMemory() {
        #if DEBUG
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 16)
        unsafe memory.initialize(repeating: 0, count: 16)
        let behind = unsafe memory[16]
        unsafe memory.deallocate()
        if behind == 255 { pause(milliseconds: 1) }
        #endif
    }

    package static func unsetEnvironment(_ name: String) { _ = unsafe unsetenv(name) }

    /// The whole environment as `NAME=value` strings.
    package static var environment: [String] {
        var strings: [String] = []
        var next = unsafe environ
        while let pointer = unsafe next.pointee {
            strings.append(unsafe String(cString: pointer))
            unsafe next += 1
        }
        return strings
    }

    /// The file of the running program.
    package static var executablePath: String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let capacity = buffer.count
        let count = unsafe readlink("/proc/self/exe", &buffer, capacity)
        return String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Gives free heap memory back to the system (malloc_trim(3)).
    package static func trimHeap() { _ = martlet_trim_heap() }

    package static var effectiveUser: UInt32 { geteuid() }

    /// Returns random bits from the kernel.
    package static func random() -> UInt64 {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }

    package static func exit(_ code: Int32) -> Never { Glibc.exit(code) }

    /// True if standard error is a terminal.
    package static var isErrorATerminal: Bool { isatty(2) == 1 }

    /// Writes a line to standard error in one call; a line that cannot be written now is lost.
    package static func printError(_ line: String) {
        var room = pollfd(fd: 2, events: Int16(POLLOUT), revents: 0)
        guard unsafe poll(&room, 1, 0) == 1 else { return }
        var line = line + "\n"
        line.withUTF8 { bytes in _ = unsafe write(2, bytes.baseAddress, bytes.count) }
    }
}
