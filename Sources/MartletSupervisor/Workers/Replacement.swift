// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// A planned replacement of a worker that is under way, until its commit.
struct Replacement {
    /// What was done, and what comes next.
    var steps: Handover
    /// The worker that takes over.
    let heir: WorkerProcess
    /// Told why it came to nothing.
    let respond: (String?) -> Void
}

/// The workers whose users a worker of a new number of shards takes over, each its own.
struct Donors {
    let workers: [WorkerProcess]
    let board: Board
}
