// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// A process that is not our child, known by a pidfd(2) that was made while its parent still knew it.
package final class ForeignProcess: SupervisedProcess, Sendable {
    private let pidfd: OwnedDescriptor

    package var handle: Int32 { pidfd.number }

    /// Takes over a pidfd.
    package init(owning handle: Int32) {
        pidfd = OwnedDescriptor(owning: handle)
    }

    /// Returns `.unknown` once the process has ended, because only its parent knows how; nil while it runs.
    package func reap() -> ProcessEnd? {
        var ready = pollfd(fd: handle, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&ready, 1, 0) == 1 ? .unknown : nil
    }

    package func abort() { _ = martlet_pidfd_signal(handle, SIGABRT) }

    package func kill() { _ = martlet_pidfd_signal(handle, SIGKILL) }
}
