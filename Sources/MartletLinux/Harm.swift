internal import CMartletLinux
internal import Glibc

#if DEBUG
/// What a process that strangers have taken over would do to the others by what it shares with them; for tests.
package enum Harm {
    /// Tries all ways there are; returns of each what it was kept from and how, or that it was not.
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
