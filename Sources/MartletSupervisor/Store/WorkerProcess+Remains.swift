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
        var meeting: Meeting?
        if let handle {
            meeting = try Meeting(ForeignProcess(owning: handle), state, remains, keeper, window: window)
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
            process: meeting?.worker
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
        } else if let meeting, !meeting.begin() {
            end("it cannot be reached")
        }
    }

    /// A worker that gets a new link and a new post.
    private struct Meeting: ~Copyable {
        let worker: RunningWorker
        private let theirLink: OwnedDescriptor
        private let theirPost: OwnedDescriptor

        init(
            _ process: ForeignProcess,
            _ state: StoreState.Shard,
            _ remains: Remains,
            _ keeper: KeeperChannel?,
            window: Int
        ) throws(SystemCallError) {
            let (ourLink, theirLink) = try SocketPair(.stream).split()
            let link = OwnedDescriptor(owning: ourLink)
            let linkEnd = OwnedDescriptor(owning: theirLink)
            for end in [ourLink, theirLink] { StreamSocket.setBuffers(end, receive: 1 << 20, send: 1 << 20) }
            let (ourPost, theirPost) = try SocketPair(.packets).split()
            self.theirLink = linkEnd
            self.theirPost = OwnedDescriptor(owning: theirPost)
            StreamSocket.setBuffers(theirPost, receive: 1 << 20, send: 1 << 20)
            worker = RunningWorker(
                pid: state.pid,
                process: process,
                link: link,
                post: DescriptorChannel(owning: ourPost, window: window, bound: window),
                keeper: keeper,
                tether: remains.take(.tether, state.tether).map { Tether(owning: $0) },
                isOfThisProgram: false
            )
            worker.keeperPid = state.keeperPid
            worker.isKeeperKnown = state.keeperPid > 0
        }

        /// Passes the worker its ends; false if it cannot be reached.
        borrowing func begin() -> Bool { worker.tether?.send([theirLink.number, theirPost.number]) == true }
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
