// SPDX-License-Identifier: Apache-2.0

/// A replacement of all workers, one after another, that is under way.
final class Rolling {
    /// Told why it ended early, or nil.
    let onEnd: (String?) -> Void
    /// The shard whose turn it is.
    var shard = 0
    /// The result of its replacement; nil: not known yet.
    var outcome: String??

    init(_ onEnd: @escaping (String?) -> Void) {
        self.onEnd = onEnd
    }
}
