// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

// What may begin, and when.

extension Supervisor {
    /// Something that an operator, or the supervisor itself, wants to begin.
    enum Verb {
        /// Replace the worker of one shard.
        case restart(WorkerProcess)
        /// Replace all workers.
        case renew
        /// Change the number of shards.
        case scale
        /// Become the next program.
        case upgrade
    }

    /// Returns why something may not begin now; nil: it may.
    ///
    /// Steps of what is under way already do not ask.
    func refusal(toBegin verb: Verb) -> String? {
        if let obstacle = undertaking.obstacle { return obstacle }
        switch verb {
        case .restart(let worker): return obstacle(toReplace: worker)
        case .renew: return nil
        case .scale, .upgrade:
            if workers.allSatisfy({ $0.isServing && $0.replacement == nil }) { return nil }
            return "not every shard is serving now, or one is being restarted: try again"
        }
    }

    /// Returns what stands in the way of a worker's replacement.
    func obstacle(toReplace worker: WorkerProcess) -> String? {
        guard worker.isServing, worker.custody.state == .serving, worker.replacement == nil else {
            return "the shard is not serving now, or is already being restarted"
        }
        if worker.process?.isWithoutKeeper == true || worker.process?.keeper == nil {
            return "the keeper of its connections has ended: they would be dropped"
        }
        return nil
    }

    var rolling: Rolling? { undertaking.rolling }
    var scaling: Scaling? { undertaking.scaling }
    var upgrading: Upgrade? { undertaking.upgrading }
    var stopDeadline: UInt64? { undertaking.stopDeadline }
    var leaveDeadline: UInt64? { undertaking.leaveDeadline }
}
