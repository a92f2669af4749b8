internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// One shard's worker, as the supervisor knows it: the process, its link for frames, and its post for descriptors.
final class WorkerProcess {
    let shard: Int
    var lifecycle: WorkerLifecycle
    /// The number of the worker among those of this shard.
    var generation: UInt32 = 0
    /// The stream of frames to and from the worker; nil if there is no process.
    var stream: PeerStream?
    private(set) var link: Int32 = -1
    private(set) var post: DescriptorChannel?
    /// The rooms that it has reported, while more of them are to come.
    var roomsToldSoFar: [RoomChange] = []
    /// What it reported last.
    var reported = ShardStatistics()
    /// What earlier workers of this shard had counted, so that counters never decrease.
    var ledger = Counters()
    var lastEnd: String?
    /// How long it may take to stop, as it was told; nil: this is not known.
    var stopTimeout: UInt64?
    /// When it must have ended, because it has no shard any more; nil: it has one.
    var leavesUntil: UInt64?
    /// How many log lines it has written in the current second.
    var logged: (second: UInt64, count: Int) = (0, 0)
    private(set) var lastRestart: Restart?
    private var endedAt: UInt64 = 0
    /// The shard's memory, which outlives its workers; -1 before the first worker.
    var arena: Int32 = -1
    /// The tether by which the next supervisor can give the current worker a new link.
    var tether: Tether?
    /// The post of the previous supervisor, until everything that came over it is taken.
    var oldPost: DescriptorChannel?
    /// Whether another supervisor has started it, and it has not reported to us yet.
    var isUnconfirmed = false
    /// The current worker's keeper.
    var keeper: KeeperChannel?
    /// Whether the keeper has reported; its later messages are for the worker that inherits.
    var isKeeperKnown = false
    /// The keeper's process id; 0: not known.
    var keeperPid: Int32 = 0
    /// What a worker that has ended left behind, until the next one has taken it over.
    var estate: KeeperChannel?
    /// Whether somebody else killed the process.
    private(set) var wasKilled = false
    /// How many workers in a row have ended before they served.
    private var failedAdoptions = 0
    /// Whether the current worker has served.
    private var hasServed = false
    /// Whether its keeper has ended, although the worker lives.
    var isWithoutKeeper = false
    /// Whether the current worker takes over from the previous one.
    var inherits = false
    /// Whether it was told that it owns the shard, and has not reported the result yet (``PeerKind/recovered``).
    var owesRecovery = false
    /// Clients' sockets that came for the shard while it was recovering.
    var heldClients: [DescriptorChannel.Packet] = []
    /// Whether it ended because it cannot use its configuration.
    private(set) var hasBadConfiguration = false
    private(set) var pid: Int32 = 0
    private(set) var handle: Int32 = -1
    var linkWatchesWritable = false
    var postWatchesWritable = false
    /// Why we killed it, if we did.
    private var killReason: String?
    private var reap: (() -> ProcessEnd?)?
    private var kill: (() -> Void)?
    private var sendAbort: (() -> Void)?

    /// The number that distinguishes its events from those of other workers, including workers of the same shard.
    let tag: Int
    /// Whether requests for the shard are held, because the worker is frozen.
    var isHeld = false
    /// The replacement of this worker that is under way.
    var handover: Handover?
    var heir: WorkerProcess?
    var onHandover: ((String?) -> Void)?
    /// The worker that it will replace.
    weak var donor: WorkerProcess?
    /// The workers from which it takes users, if the number of shards changes.
    private(set) var sources: [WorkerProcess] = []
    private(set) var sourceBoard: Board?
    private let policy: WorkerLifecycle.Policy

    init(shard: Int, tag: Int, policy: WorkerLifecycle.Policy) {
        self.shard = shard
        self.tag = tag
        self.policy = policy
        lifecycle = WorkerLifecycle(policy: policy)
    }

    /// Whether the current program of this process has started it, so that it understands everything that we send.
    var isOfThisProgram = false

    /// Makes a worker that takes over from one that lives.
    init(succeeding donor: WorkerProcess, tag: Int) {
        shard = donor.shard
        self.tag = tag
        policy = donor.policy
        lifecycle = WorkerLifecycle(policy: donor.policy)
        generation = donor.generation
        arena = donor.arena
        estate = donor.keeper
        self.donor = donor
    }

    /// Makes a worker of a new set of shards, which takes its users from all previous workers.
    ///
    /// Its generation is after `generation`, which is at least theirs, so that messages to them are never confused.
    init(shard: Int, tag: Int, takingFrom sources: [WorkerProcess], _ board: Board, after generation: UInt32) {
        self.shard = shard
        self.tag = tag
        policy = sources[0].policy
        lifecycle = WorkerLifecycle(policy: policy)
        self.generation = generation
        self.sources = sources
        sourceBoard = board
    }

    /// Takes over the counters of previous workers.
    func succeed(countersOf donors: [WorkerProcess], now: UInt64) {
        for donor in donors {
            ledger.merge(donor.ledger)
            ledger.merge(donor.reported.counters)
            donor.reported = ShardStatistics()
        }
        if let donor = donors.first { lifecycle.succeeds(donor.lifecycle) }
        lifecycle.started(at: now)
        lastEnd = Self.scaled
        replacesAsPlanned()
        isRecovering = true
        sources = []
        sourceBoard = nil
    }

    /// Resumes a worker that the previous program of this process has started.
    init(
        resuming saved: SupervisorState.Worker,
        _ child: ChildBox,
        shard: Int,
        policy: WorkerLifecycle.Policy,
        now: UInt64
    ) {
        self.shard = shard
        tag = shard
        self.policy = policy
        lifecycle = WorkerLifecycle(policy: policy, servingSince: now, restarts: saved.reported.restarts)
        generation = saved.generation
        arena = saved.arena
        keeper = KeeperChannel(owning: saved.keeper)
        keeperPid = saved.keeperPid
        isKeeperKnown = saved.keeperPid > 0
        tether = Tether(owning: saved.tether)
        hasServed = true
        ledger = saved.ledger.counters
        let size = saved.postState.window.size
        let post = DescriptorChannel(resuming: saved.post, saved.postState, bound: size)
        adopt(child, link: saved.link, post: post)
        stream = PeerStream(input: saved.unread, output: saved.unsent)
        reported = saved.reported
        lastEnd = saved.reported.lastEnd
        lastRestart = saved.reported.lastRestart
    }

    /// Closes the shard's memory, which nobody needs any more.
    func closeArena() {
        if arena >= 0 { closeDescriptor(arena) }
        arena = -1
    }

    /// Takes over the shard and the counters of another worker; returns the same as ``committed()``.
    func succeed(_ donor: WorkerProcess, now: UInt64) -> KeeperChannel? {
        ledger = donor.ledger
        ledger.merge(donor.reported.counters)
        donor.reported = ShardStatistics()
        donor.arena = -1
        lifecycle.succeeds(donor.lifecycle)
        // From here on it has its own time limit.
        lifecycle.started(at: now)
        lastEnd = Self.restarted
        replacesAsPlanned()
        // Clients that were queued for the donor come first, because it has not seen them.
        heldClients = (donor.post?.takeWaiting() ?? []) + donor.takeHeldClients()
        isRecovering = true
        self.donor = nil
        return committed()
    }

    /// Tells whoever asked for the replacement why it failed, or nil on success.
    func answerHandover(_ problem: String?) {
        let respond = onHandover
        onHandover = nil
        respond?(problem)
    }

    func pauseBegan(at now: UInt64) { endedAt = now }

    func forgetHandover() {
        handover = nil
        heir = nil
        onHandover = nil
    }

    var isServing: Bool { lifecycle.shardState == .serving }

    /// True if so much waits for the worker that it cannot be reading.
    var isDeaf: Bool { (stream?.queuedBytes ?? 0) > 4 * PeerHeader.largestPayload }

    /// The state of the shard that other workers are told.
    var state: ShardState {
        let state = lifecycle.shardState
        return isRecovering && (state == .down || state == .starting) ? .recovering : state
    }

    /// Whether requests for the shard wait, because the next worker is about to take over, or the first one to start.
    var isRecovering = false

    /// Makes a child of ours the worker.
    func adopt(_ box: ChildBox, link: Int32, post: DescriptorChannel) {
        adopt(pid: box.child.pid, handle: box.child.handle.number, link: link, post: post)
        reap = { box.child.reap() }
        kill = { box.child.kill() }
        sendAbort = { box.child.abort() }
    }

    /// Makes a process that another supervisor has started the worker.
    func adopt(_ box: ForeignBox, pid: Int32, link: Int32, post: DescriptorChannel) {
        adopt(pid: pid, handle: box.process.handle.number, link: link, post: post)
        reap = { box.process.ended() }
        kill = { box.process.kill() }
        sendAbort = { box.process.abort() }
    }

    private func adopt(pid: Int32, handle: Int32, link: Int32, post: DescriptorChannel) {
        self.pid = pid
        self.handle = handle
        self.link = link
        self.post = post
        stream = PeerStream()
        linkWatchesWritable = false
        postWatchesWritable = false
        reported = ShardStatistics()
        killReason = nil
    }

    func takeHeldClients() -> [DescriptorChannel.Packet] {
        defer { heldClients = [] }
        return heldClients
    }

    /// Asks the process to say where it is, and to end.
    func abort(_ reason: String) {
        killReason = reason
        sendAbort?()
    }

    /// Kills the process, whose end is learnt from ``handle``.
    func end(_ reason: String) {
        killReason = reason
        kill?()
    }

    /// Collects the process if it has ended, and returns how it ended as text.
    func reaped() -> String? {
        guard let end = reap?() else { return nil }
        wasKilled = killReason == nil && (end == .killed(signal: 9) || end == .unknown)
        hasBadConfiguration = end == .exited(code: BirthContract.exitCodeOfBadConfiguration)
        if let killReason { return "killed: \(killReason)" }
        switch end {
        case .exited(let code): return code == 0 ? "exit 0" : "exit \(code)"
        case .killed(let signal): return "crash: signal \(signal)"
        case .unknown: return "ended while another process supervised it"
        }
    }

    /// Releases everything that belonged to a process that has ended.
    ///
    /// Its keeper holds what it leaves, unless it has not taken over yet; then the previous keeper still does.
    func forget(_ end: String, keepsEstate: Bool) {
        // The pause begins when the last worker that served has ended.
        if hasServed { endedAt = Clock.monotonicNanoseconds() }
        if !hasServed { failedAdoptions += 1 }
        hasServed = false
        if !inherits { estate = keepsEstate && !isWithoutKeeper ? keeper : nil }
        if failedAdoptions > Self.mostFailedAdoptions { dropEstate() }
        isWithoutKeeper = false
        keeper = nil
        ledger.merge(reported.counters)
        // These numbers were about its connections.
        reported = ShardStatistics()
        lastEnd = end
        closeDescriptor(link)
        link = -1
        post = nil
        tether = nil
        stream = nil
        roomsToldSoFar = []
        isUnconfirmed = false
        owesRecovery = false
        reap = nil
        kill = nil
        sendAbort = nil
        handle = -1
        pid = 0
    }

    private static let mostFailedAdoptions = 5

    /// Notes that connections are lost, together with the worker that had them and its keeper.
    func lost(connections: Int) {
        guard connections > 0 else { return }
        ledger.closed(with: CloseLabel.abnormal, count: connections)
        var restart = Restart(at: Clock.unixMilliseconds())
        restart.lost = connections
        lastRestart = restart
    }

    /// Notes that the current worker was started to take over, and has not done so yet.
    func isTakingOver() { inherits = true }

    /// Gives up what an ended worker has left, so that the keeper closes what it holds.
    func dropEstate() {
        estate = nil
        isRecovering = false
    }

    /// Notes that the current worker holds everything that the previous one had, and returns the previous one's keeper.
    ///
    /// The keeper must be dismissed once the next supervisor would know this too.
    func committed() -> KeeperChannel? {
        defer { estate = nil }
        inherits = false
        return estate
    }

    /// Notes that the current worker serves.
    func serves() {
        hasServed = true
        failedAdoptions = 0
    }

    /// Notes that the current worker serves what it took over.
    func recovered(_ outcome: Adoption) {
        isRecovering = false
        owesRecovery = false
        serves()
        var restart = Restart(at: Clock.unixMilliseconds())
        restart.kept = outcome.kept
        restart.lost = outcome.lost
        restart.unrecorded = outcome.unrecorded
        restart.pauseMilliseconds = Int((Clock.monotonicNanoseconds() - endedAt) / 1_000_000)
        lastRestart = restart
    }

    /// Returns the worker's statistics, completed with what only the supervisor knows.
    ///
    /// `fresh` is what the worker reports now; nil: use what it reported last.
    func statistics(fresh: ShardStatistics?) -> ShardStatistics {
        var statistics = fresh ?? reported
        statistics.shard = shard
        statistics.pid = pid
        statistics.generation = generation
        statistics.state = state
        statistics.restarts = lifecycle.restarts
        statistics.lastEnd = lastEnd
        statistics.lastRestart = lastRestart
        statistics.counters.merge(ledger)
        return statistics
    }
}

/// Holds a child process so that a closure can use it.
final class ChildBox {
    let child: ChildProcess

    init(_ child: consuming ChildProcess) {
        self.child = child
    }
}

/// Holds a process that is not a child so that a closure can use it.
final class ForeignBox {
    let process: ForeignProcess

    init(_ process: consuming ForeignProcess) {
        self.process = process
    }
}
