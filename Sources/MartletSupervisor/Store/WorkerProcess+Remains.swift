internal import MartletCore
internal import MartletLinux

// A worker that another supervisor has started, and that may continue to serve.

extension WorkerProcess {
    /// Makes the shard as the previous supervisor left it; its worker, if any, gets a new link and a new post.
    convenience init(
        shard: Int,
        _ state: StoreState.Shard,
        _ remains: Remains,
        policy: WorkerLifecycle.Policy,
        window: Int,
        now: UInt64
    ) throws(SystemCallError) {
        self.init(shard: shard, tag: shard, policy: policy)
        generation = state.generation
        arena = remains.take(.arena, state.arena) ?? -1
        keeper = remains.take(.keeper, state.keeper).map { KeeperChannel(owning: $0) }
        keeperPid = state.keeperPid
        isKeeperKnown = state.keeperPid > 0
        estate = remains.take(.keeper, state.estate).map { KeeperChannel(owning: $0) }
        ledger = state.ledger
        lastEnd = state.lastEnd
        lifecycle = WorkerLifecycle(policy: policy, restarts: state.restarts)
        pauseBegan(at: Clock.monotonicNanoseconds())
        oldPost = remains.take(.post, state.post).map {
            // The channel is only read, so no credits are granted.
            let saved = DescriptorChannel.Saved(window: CreditWindow(size: .max / 8), owed: 0, waiting: [])
            return DescriptorChannel(resuming: $0, saved, bound: 0)
        }
        guard state.pid > 0, let handle = remains.take(.process, UInt64(state.pid)) else {
            isRecovering = estate != nil
            keeper = nil
            return
        }
        try meet(ForeignBox(ForeignProcess(owning: handle)), state, remains, window, now)
    }

    private func meet(
        _ box: ForeignBox,
        _ state: StoreState.Shard,
        _ remains: Remains,
        _ window: Int,
        _ now: UInt64
    ) throws(SystemCallError) {
        let (ourLink, theirLink) = try SocketPair(.stream).split()
        let theirs = OwnedDescriptor(owning: theirLink)
        StreamSocket.setBuffers(ourLink, receive: 1 << 20, send: 1 << 20)
        StreamSocket.setBuffers(theirs.number, receive: 1 << 20, send: 1 << 20)
        let (ourPost, theirPost) = try SocketPair(.packets).split()
        let theirPostEnd = OwnedDescriptor(owning: theirPost)
        StreamSocket.setBuffers(theirPost, receive: 1 << 20, send: 1 << 20)
        adopt(
            box,
            pid: state.pid,
            link: ourLink,
            post: DescriptorChannel(owning: ourPost, window: window, bound: window)
        )
        lifecycle.started(at: now)
        tether = remains.take(.tether, state.tether).map { Tether(owning: $0) }
        if estate != nil {
            // The worker had not taken over yet: the next one will, from the same keeper.
            isTakingOver()
            isRecovering = true
            end("its supervisor ended before it had taken over")
        } else {
            isUnconfirmed = true
            if tether?.send([theirs.number, theirPostEnd.number]) != true { end("it cannot be reached") }
        }
    }

    /// What the next supervisor must know about the shard.
    var stored: StoreState.Shard {
        StoreState.Shard(
            generation: generation,
            pid: pid,
            keeperPid: keeperPid,
            tether: tether.map { descriptorIdentity($0.descriptor) } ?? 0,
            post: post.map { descriptorIdentity($0.descriptor) } ?? 0,
            keeper: keeper.map { descriptorIdentity($0.channel) } ?? 0,
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
        if pid > 0 { entries.append((StoredKind.process.name(UInt64(pid)), handle)) }
        if let tether { entries.append(entry(.tether, tether.descriptor)) }
        if let post { entries.append(entry(.post, post.descriptor)) }
        if let keeper { entries.append(entry(.keeper, keeper.channel)) }
        if let estate { entries.append(entry(.keeper, estate.channel)) }
        if arena >= 0 { entries.append(entry(.arena, arena)) }
        return entries
    }
}
