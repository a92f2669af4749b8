// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// A child of ours that another process has made (clone(2), CLONE_PARENT), and that we collect when it ends.
package final class WatchedProcess {
    package let pid: Int32
    private let descriptor: OwnedDescriptor

    /// Watches a process; nil if there is no such process.
    package init?(pid: Int32) {
        let handle = martlet_pidfd_open(pid)
        guard handle >= 0 else { return nil }
        self.pid = pid
        descriptor = OwnedDescriptor(owning: handle)
    }

    /// Readable once the process has ended; register it with an ``EventLoop``.
    package var handle: Int32 { descriptor.number }

    /// Collects the process if it has ended.
    package func reap() { waitpid(pid, nil, WNOHANG) }
}
