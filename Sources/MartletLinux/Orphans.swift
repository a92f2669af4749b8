// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// Children that we did not start, but inherited from processes that have ended.
///
/// The first process of a container (PID 1) gets such children, and so does a process that has asked for them.
package enum Orphans {
    /// Collects the orphans that have ended; it is called now and then.
    ///
    /// `isKnown` returns true for a process that somebody else collects.
    package static func reap(unless isKnown: (Int32) -> Bool) {
        // A process is looked at first, because somebody else collects a known one.
        while case let pid = martlet_ended_child(), pid > 0, !isKnown(pid) { waitpid(pid, nil, WNOHANG) }
    }
}
