internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How a worker goes on under the next program of its supervisor.

extension WorkerProcess {
    /// Returns the workers that the previous program of this process had.
    ///
    /// If one cannot be watched, this throws, and takes nothing.
    static func resumed(
        _ state: SupervisorState,
        policy: WorkerLifecycle.Policy,
        now: UInt64
    ) throws(SystemCallError) -> [WorkerProcess] {
        var children: [ChildBox] = []
        for worker in state.workers { children.append(ChildBox(try ChildProcess(adopting: worker.pid))) }
        return zip(state.workers, children).enumerated().map { shard, pair in
            WorkerProcess(resuming: pair.0, pair.1, shard: shard, policy: policy, now: now)
        }
    }

    /// What the next program of this process needs to go on with the worker.
    var saved: SupervisorState.Worker? {
        guard let post, let keeper, let stream, let tether else { return nil }
        var reported = reported
        reported.connectionsByUser = nil
        reported.restarts = lifecycle.restarts
        reported.lastEnd = lastEnd
        reported.lastRestart = lastRestart
        var ledgers = ShardStatistics()
        ledgers.counters = ledger
        return SupervisorState.Worker(
            generation: generation,
            pid: pid,
            keeperPid: keeperPid,
            link: link,
            post: post.descriptor,
            postState: post.saved,
            arena: arena,
            keeper: keeper.channel,
            tether: tether.descriptor,
            reported: reported,
            ledger: ledgers,
            unread: stream.unread,
            unsent: stream.unsent
        )
    }
}

extension WorkerLifecycle.Policy {
    /// Makes the policy of a configuration.
    init(_ supervision: Configuration.Supervision) {
        self.init(
            readyTimeout: supervision.handoverTimeout.nanoseconds,
            livenessTimeout: supervision.livenessTimeout.nanoseconds,
            backoffMinimum: supervision.restartBackoffMinimum.nanoseconds,
            backoffMaximum: supervision.restartBackoffMaximum.nanoseconds
        )
    }
}
