// SPDX-License-Identifier: Apache-2.0

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
        var children: [ChildProcess] = []
        for worker in state.workers { children.append(try ChildProcess(adopting: worker.pid)) }
        return zip(state.workers, children).enumerated().map { shard, pair in
            WorkerProcess(resuming: pair.0, pair.1, shard: shard, policy: policy, now: now)
        }
    }

    private convenience init(
        resuming saved: SupervisorState.Worker,
        _ child: ChildProcess,
        shard: Int,
        policy: WorkerLifecycle.Policy,
        now: UInt64
    ) {
        let process = RunningWorker(
            pid: child.pid,
            process: child,
            link: OwnedDescriptor(owning: saved.link),
            post: DescriptorChannel(resuming: saved.post, saved.postState, bound: saved.postState.window.size),
            keeper: KeeperChannel(owning: saved.keeper),
            tether: Tether(owning: saved.tether),
            // Whatever it was started by, it was not this program.
            isOfThisProgram: false
        )
        process.keeperPid = saved.keeperPid
        process.isKeeperKnown = saved.keeperPid > 0
        process.stream = PeerStream(input: saved.unread, output: saved.unsent)
        process.reported = saved.reported
        self.init(
            shard: shard,
            policy: policy,
            lifecycle: WorkerLifecycle(policy: policy, servingSince: now, restarts: saved.reported.restarts),
            custody: ShardCustody(.serving, waits: false),
            generation: saved.generation,
            process: process
        )
        arena = saved.arena
        ledger = saved.ledger.counters
        resume(lastEnd: saved.reported.lastEnd, lastRestart: saved.reported.lastRestart)
    }

    /// What the next program of this process needs to go on with the worker.
    var saved: SupervisorState.Worker? {
        guard let process, let keeper = process.keeper, let tether = process.tether else { return nil }
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
            keeperPid: process.keeperPid,
            link: process.link,
            post: process.post.descriptor,
            postState: process.post.saved,
            arena: arena,
            keeper: keeper.channel,
            tether: tether.descriptor,
            reported: reported,
            ledger: ledgers,
            unread: process.stream.unread,
            unsent: process.stream.unsent
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
