// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

#if DEBUG
/// Does what an attacker in control of this process would do to other processes by what it shares with them; for tests.
package enum Harm {
    /// Tries all ways to do harm, and returns for each of them the error that prevented it, or nil if nothing did.
    package static func tryAll(listener: Int32) -> [(what: String, error: SystemCallError?)] {
        var outcomes: [(what: String, error: SystemCallError?)] = []
        while let words = unsafe martlet_harm(Int32(outcomes.count), listener) {
            let error = SystemCallError.last("try")
            let what = unsafe String(cString: words)
            outcomes.append(what.isEmpty ? ("way \(outcomes.count)", nil) : (what, error))
        }
        return outcomes
    }
}
#endif
