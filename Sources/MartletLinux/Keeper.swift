// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// A process that shares our descriptor table and outlives us, so that a killed worker's sockets are not lost.
///
/// It uses hardly any memory, and does nothing until it is asked (``KeeperChannel``).
package enum Keeper {
    /// Starts the keeper of this process, and returns whether there is one now: it runs, and has said ``KeeperChannel/Word/born(pid:)``.
    ///
    /// Call this first in main, before there are other threads. `channel` is the keeper's end of a SOCK_SEQPACKET pair.
    package static func start(channel: Int32) -> Bool { martlet_keeper(channel) > 0 }
}
