internal import CMartletLinux
internal import Glibc

/// A signal that a process takes as an event of its loop.
package enum Signal: Int32, Sendable, CaseIterable {
    case hangup = 1
    case interrupt = 2
    case terminate = 15

    package var name: String {
        switch self {
        case .hangup: "SIGHUP"
        case .interrupt: "SIGINT"
        case .terminate: "SIGTERM"
        }
    }
}

/// Signals read as bytes of a descriptor (signalfd(2)).
///
/// Make it before any other thread exists.
package struct SignalSource: ~Copyable {
    /// Readable when a signal waits; register it with an ``EventLoop``.
    package let descriptor: OwnedDescriptor

    package init(_ signals: [Signal]) throws(SystemCallError) {
        var set = SignalSource.set(signals)
        unsafe pthread_sigmask(Int32(SIG_BLOCK), &set, nil)
        let number = unsafe signalfd(-1, &set, Int32(SFD_NONBLOCK) | Int32(SFD_CLOEXEC))
        guard number >= 0 else { throw .last("signalfd") }
        descriptor = OwnedDescriptor(owning: number)
    }

    /// The next signal that waits.
    package func next() -> Signal? {
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        guard unsafe read(descriptor.number, &info, size) == size else { return nil }
        return Signal(rawValue: Int32(info.ssi_signo))
    }

    /// Leaves these signals undelivered in this process: somebody else acts on them.
    package static func block(_ signals: [Signal]) {
        var set = set(signals)
        unsafe pthread_sigmask(Int32(SIG_BLOCK), &set, nil)
    }

    /// A pipe that nobody reads any more, standard error for one, must not end the process.
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
