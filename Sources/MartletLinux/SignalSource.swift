// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// Signals read as bytes of a descriptor (signalfd(2)).
///
/// Make the source before there are other threads.
package struct SignalSource: ~Copyable {
    /// Readable when a signal waits; register it with an ``EventLoop``.
    package let descriptor: OwnedDescriptor

    /// Takes these signals, and also those that mean nothing to us, so that they can be logged.
    package init(_ signals: [Signal]) throws(SystemCallError) {
        var set = SignalSource.set(signals)
        for number in Self.meaningless.keys { unsafe sigaddset(&set, number) }
        unsafe pthread_sigmask(Int32(SIG_BLOCK), &set, nil)
        let number = unsafe signalfd(-1, &set, Int32(SFD_NONBLOCK) | Int32(SFD_CLOEXEC))
        guard number >= 0 else { throw .last("signalfd") }
        descriptor = OwnedDescriptor(owning: number)
    }

    /// A signal that came.
    package enum Arrival: Equatable, Sendable {
        case signal(Signal)
        /// One of ``meaningless``, and the process that sent it (0: the kernel, or a process of another namespace).
        case meaningless(name: String, sender: UInt32)
    }

    /// Returns the next signal that waits; nil if there is none.
    package func next() -> Arrival? {
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        guard unsafe read(descriptor.number, &info, size) == size else { return nil }
        let number = Int32(info.ssi_signo)
        if let signal = Signal(rawValue: number) { return .signal(signal) }
        return .meaningless(name: Self.meaningless[number] ?? "signal \(number)", sender: info.ssi_pid)
    }

    /// Signals that would end the process, although they mean nothing to it (signal(7)).
    ///
    /// A sender of such a signal has mistaken it for another program.
    private static let meaningless: [Int32: String] = {
        var names = [
            SIGUSR1: "SIGUSR1", SIGUSR2: "SIGUSR2", SIGALRM: "SIGALRM", SIGVTALRM: "SIGVTALRM", SIGPROF: "SIGPROF",
            SIGIO: "SIGIO", SIGXCPU: "SIGXCPU", SIGPWR: "SIGPWR", 16: "SIGSTKFLT",
        ]
        // 32 and 33 are the C library's own.
        for number: Int32 in 34...64 { names[number] = "SIGRTMIN+\(number - 34)" }
        return names
    }()

    /// Makes this process, and those that it clones, ignore the signals that mean nothing to it.
    package static func ignoreMeaningless() {
        for number in meaningless.keys { _ = signal(number, SIG_IGN) }
    }

    /// Makes a file or shared memory that becomes too large an error of the call (EFBIG), and not the end of the
    /// process.
    package static func ignoreFileSizeLimit() { _ = signal(SIGXFSZ, SIG_IGN) }

    /// Blocks these signals in this process, because another process acts on them.
    package static func block(_ signals: [Signal]) {
        var set = set(signals)
        unsafe pthread_sigmask(Int32(SIG_BLOCK), &set, nil)
    }

    /// Prevents a pipe that nobody reads any more, such as standard error, from ending the process.
    package static func ignoreBrokenPipes() {
        _ = signal(SIGPIPE, SIG_IGN)
    }

    private static func set(_ signals: [Signal]) -> sigset_t {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in signals { unsafe sigaddset(&set, signal.rawValue) }
        return set
    }
}
