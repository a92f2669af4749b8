// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux

// A worker that another supervisor has started, and that may continue to serve.

extension WorkerProcess {
    /// Makes the shard as the previous supervisor left it: with its worker, which gets a new link and a new post, or
    /// without one.
    convenience init(
        shard: Int,
        _ state: StoreState.Shard,
        _ remains: Remains,
        policy: WorkerLifecycle.Policy,
        window: Int,
        now: UInt64
    ) throws(SystemCallError) {
        let keeper = remains.take(.keeper, state.keeper).map { KeeperChannel(owning: $0) }
        let estate = remains.take(.keeper, state.estate).map { KeeperChannel(owning: $0) }
        let handle = state.pid > 0 ? remains.take(.process, UInt64(state.pid)) : nil
        var lifecycle = WorkerLifecycle(policy: policy, restarts: state.restarts)
        var custody = ShardCustody(.vacant(left: estate != nil), waits: estate != nil)
        var met: (worker: RunningWorker, isReached: Bool)?
        if let handle {
            let process = ForeignProcess(owning: handle)
            let isToEnd = estate != nil
            met = try Self.meet(process, state, remains, keeper, isToEnd: isToEnd, window: window)
            lifecycle.started(at: now)
            // A worker that had not taken over yet is ended: the next one does, from the same keeper.
            custody = ShardCustody(estate == nil ? .unconfirmed : .inheriting, waits: estate != nil)
        }
        self.init(
            shard: shard,
            policy: policy,
            lifecycle: lifecycle,
            custody: custody,
            generation: state.generation,
            process: met?.worker
        )
        self.estate = estate
        arena = remains.take(.arena, state.arena) ?? -1
        ledger = state.ledger
        resume(lastEnd: state.lastEnd, lastRestart: nil)
        pauseBegan()
        oldPost = remains.take(.post, state.post).map {
            // The post is only read from, so nobody gets credit.
            let saved = DescriptorChannel.Saved(window: CreditWindow(size: .max / 8), owed: 0, waiting: [])
            return DescriptorChannel(resuming: $0, saved, bound: 0)
        }
        if estate != nil {
            end("its supervisor ended before it had taken over")
        } else if met?.isReached == false {
            end("it cannot be reached")
        }
    }

    /// Makes the worker that serves on, with a new link and a new post; false if it cannot be reached.
    private static func meet(
        _ process: ForeignProcess,
        _ state: StoreState.Shard,
        _ remains: Remains,
        _ keeper: KeeperChannel?,
        isToEnd: Bool,
        window: Int
    ) throws(SystemCallError) -> (worker: RunningWorker, isReached: Bool) {
        let channels = try WorkerChannels(window: window)
        let tether = remains.take(.tether, state.tether).map { Tether(owning: $0) }
        // A worker that had not taken over yet is ended: nobody talks to it.
        let isReached =
            isToEnd || tether?.send([channels.theirLink.number, channels.theirPost.number]) == true
        let worker = RunningWorker(
            pid: state.pid,
            process: process,
            link: channels.link,
            post: channels.post,
            keeper: keeper,
            tether: tether,
            isOfThisProgram: false
        )
        worker.keeperPid = state.keeperPid
        worker.isKeeperKnown = state.keeperPid > 0
        return (worker, isReached)
    }

    /// What the next supervisor must know about the shard.
    var stored: StoreState.Shard {
        StoreState.Shard(
            generation: generation,
            pid: pid,
            keeperPid: process?.keeperPid ?? 0,
            tether: process?.tether.map { descriptorIdentity($0.descriptor) } ?? 0,
            post: process.map { descriptorIdentity($0.post.descriptor) } ?? 0,
            keeper: process?.keeper.map { descriptorIdentity($0.channel) } ?? 0,
            arena: arena < 0 ? 0 : descriptorIdentity(arena),
            estate: estate.map { descriptorIdentity($0.channel) } ?? 0,
            restarts: lifecycle.restarts,
            lastEnd: lastEnd,
            ledger: ledger
        )
    }

    /// The descriptors of the worker that the next supervisor needs, by name.
    var storedDescriptors: [(name: String, descriptor: Int32)] {
        func entry(_ kind: StoredKind, _ descriptor: Int32) -> (name: String, descriptor: Int32) {
            (kind.name(descriptorIdentity(descriptor)), descriptor)
        }
        var entries: [(name: String, descriptor: Int32)] = []
        if let process { entries.append((StoredKind.process.name(UInt64(pid)), process.process.handle)) }
        if let tether = process?.tether { entries.append(entry(.tether, tether.descriptor)) }
        if let post = process?.post { entries.append(entry(.post, post.descriptor)) }
        if let keeper = process?.keeper { entries.append(entry(.keeper, keeper.channel)) }
        if let estate { entries.append(entry(.keeper, estate.channel)) }
        if arena >= 0 { entries.append(entry(.arena, arena)) }
        return entries
    }
}
