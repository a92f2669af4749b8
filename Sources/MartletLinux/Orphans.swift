internal import CMartletLinux
internal import Glibc

/// Children that nobody of us has made: those of processes that have ended, where this is the first process of a container
/// (PID 1), or has asked for them.
package enum Orphans {
    /// Collects those that have ended; called now and then.
    ///
    /// `isKnown`: whether somebody else collects the process.
    package static func reap(unless isKnown: (Int32) -> Bool) {
        // The next one is only looked at, since a known one's end is others' affair.
        while case let pid = martlet_ended_child(), pid > 0, !isKnown(pid) { waitpid(pid, nil, WNOHANG) }
    }
}
