internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// One shard's worker as the supervisor has it: the process, its link for words and its post for descriptors.
final class WorkerProcess {
    let shard: Int
    var lifecycle: WorkerLifecycle
    /// Counts the workers of this shard.
    private(set) var generation: UInt32 = 0
    /// The words to and from the worker; nil where there is no process.
    var stream: PeerStream?
    private(set) var link: Int32 = -1
    private(set) var post: DescriptorChannel?
    /// What it reported last.
    var reported = ShardStatistics()
    /// What earlier workers of this shard had counted, so that counters never go back.
    private var ledger = Counters()
    private(set) var lastEnd: String?
    /// It ended because it cannot use what it was configured with.
    private(set) var hasBadConfiguration = false
    private(set) var pid: Int32 = 0
    private(set) var handle: Int32 = -1
    var linkWatchesWritable = false
    var postWatchesWritable = false
    /// Why it was killed by us, if it was.
    private var killReason: String?
    private var reap: (() -> ProcessEnd?)?
    private var kill: (() -> Void)?

    init(shard: Int, policy: WorkerLifecycle.Policy) {
        self.shard = shard
        lifecycle = WorkerLifecycle(policy: policy)
    }

    var isServing: Bool { lifecycle.shardState == .serving }

    /// Starts the next worker, born with a new arena.
    ///
    /// * `path`: the worker's program.
    /// * `listeners`: the clients' and the backends' listening sockets.
    func start(
        path: String,
        listeners: Listeners,
        map: ShardMap,
        configuration: Configuration,
        secrets: BirthContract.Secrets,
        board: Board,
        window: Int,
        now: UInt64
    ) throws(SystemCallError) {
        generation += 1
        let contract = BirthContract(
            shard: shard,
            generation: generation,
            map: map,
            clientListeners: listeners.client.count,
            apiListeners: listeners.api.count,
            configuration: configuration,
            secrets: secrets,
            addressKey: board.addressKey
        )
        let layout = ArenaLayout(connections: configuration.limits.connections)
        let arena = try SharedMemory.create(name: "martlet-arena-\(shard)", byteCount: layout.byteCount)
        try Self.write(
            ArenaHeader(layout: layout, shard: UInt16(shard), generation: generation).bytes,
            to: arena.number
        )
        let contractMemory = try SharedMemory.sealed(name: "martlet-birth-\(shard)", bytes: contract.bytes)
        let (ourLink, theirLink) = try SocketPair(.stream).split()
        let ours = OwnedDescriptor(owning: ourLink)
        let theirs = OwnedDescriptor(owning: theirLink)
        let (ourPost, theirPost) = try SocketPair(.packets).split()
        let post = DescriptorChannel(owning: ourPost, window: window, bound: window)
        let theirPostEnd = OwnedDescriptor(owning: theirPost)
        StreamSocket.setBuffers(ours.number, receive: 1 << 20, send: 1 << 20)
        StreamSocket.setBuffers(theirs.number, receive: 1 << 20, send: 1 << 20)
        let child = try ChildProcess(
            path: path,
            arguments: [BirthContract.argument],
            environment: CurrentProcess.environment.filter {
                $0.hasPrefix("SWIFT_BACKTRACE=") || $0.hasPrefix("TSAN_")
            },
            descriptors: [
                theirs.number, theirPostEnd.number, arena.number, contractMemory.number, board.memory.number,
            ]
                + listeners.client + listeners.api
        )
        adopt(child, link: ours.release(), post: post)
        lifecycle.started(at: now)
    }

    private static func write(_ header: [UInt8], to arena: Int32) throws(SystemCallError) {
        let mapping = try MemoryMapping(of: arena)
        unsafe mapping.bytes.copyBytes(from: header)
    }

    private func adopt(_ child: consuming ChildProcess, link: Int32, post: DescriptorChannel) {
        let box = ChildBox(child)
        pid = box.child.pid
        handle = box.child.handle.number
        reap = { box.child.reap() }
        kill = { box.child.kill() }
        self.link = link
        self.post = post
        stream = PeerStream()
        linkWatchesWritable = false
        postWatchesWritable = false
        reported = ShardStatistics()
        killReason = nil
    }

    /// Ends the process; its end is learned from ``handle``.
    func end(_ reason: String) {
        killReason = reason
        kill?()
    }

    /// Collects the process if it has ended; says how in words.
    func reaped() -> String? {
        guard let end = reap?() else { return nil }
        hasBadConfiguration = end == .exited(code: BirthContract.exitCodeOfBadConfiguration)
        if let killReason { return "killed: \(killReason)" }
        switch end {
        case .exited(let code): return code == 0 ? "exit 0" : "exit \(code)"
        case .killed(let signal): return "crash: signal \(signal)"
        }
    }

    /// Lets go of everything that belonged to a process that has ended.
    func forget(_ end: String) {
        ledger.merge(reported.counters)
        // What was connected is gone with it.
        reported = ShardStatistics()
        lastEnd = end
        closeDescriptor(link)
        link = -1
        post = nil
        stream = nil
        reap = nil
        kill = nil
        handle = -1
        pid = 0
    }

    /// Statistics with all that only the supervisor knows.
    ///
    /// `fresh`: what the worker says now; nil: take what it said last.
    func statistics(fresh: ShardStatistics?) -> ShardStatistics {
        var statistics = fresh ?? reported
        statistics.shard = shard
        statistics.pid = pid
        statistics.generation = generation
        statistics.state = lifecycle.shardState
        statistics.restarts = lifecycle.restarts
        statistics.lastEnd = lastEnd
        statistics.counters.merge(ledger)
        return statistics
    }
}

/// Holds a child process where a closure can reach it.
private final class ChildBox {
    let child: ChildProcess

    init(_ child: consuming ChildProcess) {
        self.child = child
    }
}
