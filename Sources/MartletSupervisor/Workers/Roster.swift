// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// Which worker has which shard, as the supervisor and its switchboard share it.
final class Roster {
    /// The worker that has a shard, for each shard.
    var workers: [WorkerProcess]
    /// Workers that will have a shard, and those that had one and still answer.
    var others: [WorkerProcess] = []
    /// Which users belong to which shard.
    var map: ShardMap

    init(_ workers: [WorkerProcess], _ map: ShardMap) {
        self.workers = workers
        self.map = map
    }

    /// Returns true if a worker has its shard.
    func isOwner(_ worker: WorkerProcess) -> Bool {
        workers.indices.contains(worker.shard) && workers[worker.shard] === worker
    }

    /// Finds the worker with a tag, which its events carry.
    func tagged(_ tag: Int) -> WorkerProcess? { (workers + others).first { $0.tag == tag } }

    /// Finds the worker that asked something: it has a shard, or had it.
    func asker(shard: Int, generation: UInt32) -> WorkerProcess? {
        if workers.indices.contains(shard), workers[shard].generation == generation { return workers[shard] }
        return others.first { $0.shard == shard && $0.generation == generation && $0.custody.state == .retired }
    }

    /// Gives the donor's shard to the heir, while the donor still speaks.
    func replace(_ donor: WorkerProcess, by heir: WorkerProcess) {
        workers[donor.shard] = heir
        others.removeAll { $0 === heir }
        others.append(donor)
        _ = donor.custody.heard(.replaced)
    }

    /// Gives all shards, of a new number, to these heirs.
    func replaceAll(by heirs: [WorkerProcess], _ map: ShardMap) {
        let donors = workers
        workers = heirs
        others.removeAll { worker in heirs.contains { $0 === worker } }
        others += donors
        for donor in donors { _ = donor.custody.heard(.replaced) }
        self.map = map
    }
}
