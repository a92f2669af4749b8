internal import CMartletLinux
internal import Glibc

/// A process that is not our child, known by a pidfd(2) that was made while its parent still knew it.
package struct ForeignProcess: ~Copyable {
    /// Readable once the process has ended; register it with an ``EventLoop``.
    package let handle: OwnedDescriptor

    /// Takes over a pidfd.
    package init(owning handle: Int32) {
        self.handle = OwnedDescriptor(owning: handle)
    }

    /// Returns `.unknown` once the process has ended, because only its parent knows how; nil while it runs.
    package func ended() -> ProcessEnd? {
        var ready = pollfd(fd: handle.number, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&ready, 1, 0) == 1 ? .unknown : nil
    }

    /// Asks the process to say where it is, and to end (SIGABRT).
    package func abort() { _ = martlet_pidfd_signal(handle.number, SIGABRT) }

    /// Ends the process at once (SIGKILL).
    package func kill() { _ = martlet_pidfd_signal(handle.number, SIGKILL) }
}
