internal import CMartletLinux
internal import Glibc

/// A process that shares our descriptor table and outlives us, so that the sockets of a worker that is killed are not lost.
///
/// It has no memory of its own to speak of, and does nothing until it is asked (``KeeperChannel``).
package enum Keeper {
    /// Makes the keeper of this process; first thing in main, before there is a thread.
    ///
    /// `channel`: the keeper's end of a SOCK_SEQPACKET pair. Returns whether there is one now.
    package static func start(channel: Int32) -> Bool { martlet_keeper(channel) > 0 }
}
