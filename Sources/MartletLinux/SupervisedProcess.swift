// SPDX-License-Identifier: Apache-2.0

/// Another process, whose end is learned from a pidfd(2), and which can be ended.
package protocol SupervisedProcess: AnyObject {
    /// The pidfd: readable once the process has ended; register it with an ``EventLoop``.
    var handle: Int32 { get }

    /// Collects the process if it has ended; nil while it runs.
    func reap() -> ProcessEnd?

    /// Asks the process to say where it is, and to end (SIGABRT); a stopped process does not react.
    func abort()

    /// Ends the process at once (SIGKILL).
    func kill()
}
