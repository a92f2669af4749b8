internal import CMartletLinux
internal import Glibc

/// A process that is no child of ours, known by a pidfd(2) that was made while it was one of somebody's.
package struct ForeignProcess: ~Copyable {
    /// Readable once the process has ended; register it with an ``EventLoop``.
    package let handle: OwnedDescriptor

    /// Takes over a pidfd.
    package init(owning handle: Int32) {
        self.handle = OwnedDescriptor(owning: handle)
    }

    /// How it ended, which only its parent knows; nil while it runs.
    package func ended() -> ProcessEnd? {
        var ready = pollfd(fd: handle.number, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&ready, 1, 0) == 1 ? .unknown : nil
    }

    /// Lets it say where it is, and end.
    package func abort() { _ = martlet_pidfd_signal(handle.number, SIGABRT) }

    /// Ends it at once (SIGKILL).
    package func kill() { _ = martlet_pidfd_signal(handle.number, SIGKILL) }
}
