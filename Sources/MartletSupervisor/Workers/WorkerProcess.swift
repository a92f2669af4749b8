internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// One shard's worker as the supervisor has it: the process, its link for words and its post for descriptors.
final class WorkerProcess {
    let shard: Int
    var lifecycle: WorkerLifecycle
    /// Counts the workers of this shard.
    var generation: UInt32 = 0
    /// The words to and from the worker; nil where there is no process.
    var stream: PeerStream?
    private(set) var link: Int32 = -1
    private(set) var post: DescriptorChannel?
    /// Rooms that it has told, as long as more of them are to come.
    var roomsToldSoFar: [RoomChange] = []
    /// What it reported last.
    var reported = ShardStatistics()
    /// What earlier workers of this shard had counted, so that counters never go back.
    var ledger = Counters()
    var lastEnd: String?
    /// How long it may take to stop, as it was told; nil: that is not known.
    var stopTimeout: UInt64?
    /// It has no shard any more, and is to have ended by then.
    var leavesUntil: UInt64?
    /// Log lines in the present second.
    var logged: (second: UInt64, count: Int) = (0, 0)
    private(set) var lastRestart: Restart?
    private var endedAt: UInt64 = 0
    /// The shard's memory, which outlives its workers; -1 before the first.
    var arena: Int32 = -1
    /// By which the present worker can be given another link, by the supervisor after us.
    var tether: Tether?
    /// The post of the supervisor before us, until all that came by it is taken.
    var oldPost: DescriptorChannel?
    /// Another supervisor has started it, and we have not heard of it yet.
    var isUnconfirmed = false
    /// The present worker's keeper.
    var keeper: KeeperChannel?
    /// It has said that it is there: what else it says is for whoever inherits.
    var isKeeperKnown = false
    /// The keeper's process; 0: not known.
    var keeperPid: Int32 = 0
    /// What a worker that has ended left behind, until the next one has taken it over.
    var estate: KeeperChannel?
    /// Its end came from outside.
    private(set) var wasKilled = false
    /// Workers in a row that ended before they served.
    private var failedAdoptions = 0
    /// The present worker has served.
    private var hasServed = false
    /// Its keeper has ended, though it lives.
    var isWithoutKeeper = false
    /// The present worker takes over from the one before.
    var inherits = false
    /// It was told that the shard is its own, and owes the word of what it made of it (``PeerKind/recovered``).
    var owesRecovery = false
    /// Clients' sockets that came for the shard while it was recovering.
    var heldClients: [DescriptorChannel.Packet] = []
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
    private var sendAbort: (() -> Void)?

    /// Tells its events from those of other workers, of the same shard too.
    let tag: Int
    /// What comes for the shard is held: the worker is frozen.
    var isHeld = false
    /// The replacement of this worker that is under way, and who replaces it.
    var handover: Handover?
    var heir: WorkerProcess?
    var onHandover: ((String?) -> Void)?
    /// Whom it is to replace.
    weak var donor: WorkerProcess?
    /// Whom it takes users from, as one of a new number of shards.
    private(set) var sources: [WorkerProcess] = []
    private(set) var sourceBoard: Board?
    private let policy: WorkerLifecycle.Policy

    init(shard: Int, tag: Int, policy: WorkerLifecycle.Policy) {
        self.shard = shard
        self.tag = tag
        self.policy = policy
        lifecycle = WorkerLifecycle(policy: policy)
    }

    /// It was started by the program that this process is: it understands all that we say.
    var isOfThisProgram = false

    /// A worker that takes over from one that lives.
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

    /// A worker of a new number of shards, which takes its users from all workers of before.
    ///
    /// `generation`: higher than theirs, so that nobody takes what is said to the one for something said to the other.
    init(shard: Int, tag: Int, takingFrom sources: [WorkerProcess], _ board: Board, after generation: UInt32) {
        self.shard = shard
        self.tag = tag
        policy = sources[0].policy
        lifecycle = WorkerLifecycle(policy: policy)
        self.generation = generation
        self.sources = sources
        sourceBoard = board
    }

    /// The shard is ours; what those before had counted is not lost.
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

    /// A worker that was started by the program that this process was before.
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

    /// Nobody needs the shard's memory any more.
    func closeArena() {
        if arena >= 0 { closeDescriptor(arena) }
        arena = -1
    }

    /// The shard is ours, and what it had counted too; returns as ``committed()``.
    func succeed(_ donor: WorkerProcess, now: UInt64) -> KeeperChannel? {
        ledger = donor.ledger
        ledger.merge(donor.reported.counters)
        donor.reported = ShardStatistics()
        donor.arena = -1
        lifecycle.succeeds(donor.lifecycle)
        // What it may take from here on is its own.
        lifecycle.started(at: now)
        lastEnd = Self.restarted
        replacesAsPlanned()
        // Those that were queued for it come first: it had not seen them.
        heldClients = (donor.post?.takeWaiting() ?? []) + donor.takeHeldClients()
        isRecovering = true
        self.donor = nil
        return committed()
    }

    /// Tells whoever asked for the replacement what it came to: nil, or why it failed.
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

    /// So much waits for it that it cannot be reading.
    var isDeaf: Bool { (stream?.queuedBytes ?? 0) > 4 * PeerHeader.largestPayload }

    /// What others are told of the shard.
    var state: ShardState {
        let state = lifecycle.shardState
        return isRecovering && (state == .down || state == .starting) ? .recovering : state
    }

    /// The next worker is on its way, and takes over, or the first one is: whoever asks for the shard waits.
    var isRecovering = false

    /// A child of ours is the worker.
    func adopt(_ box: ChildBox, link: Int32, post: DescriptorChannel) {
        adopt(pid: box.child.pid, handle: box.child.handle.number, link: link, post: post)
        reap = { box.child.reap() }
        kill = { box.child.kill() }
        sendAbort = { box.child.abort() }
    }

    /// A process that another supervisor has started is the worker.
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

    /// Lets the process say where it is, and end.
    func abort(_ reason: String) {
        killReason = reason
        sendAbort?()
    }

    /// Ends the process; its end is learned from ``handle``.
    func end(_ reason: String) {
        killReason = reason
        kill?()
    }

    /// Collects the process if it has ended; says how in words.
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

    /// Lets go of everything that belonged to a process that has ended.
    ///
    /// What it leaves stays with its keeper, unless it has left already what it never took over.
    func forget(_ end: String, keepsEstate: Bool) {
        // The pause begins where the last one that served has ended.
        if hasServed { endedAt = Clock.monotonicNanoseconds() }
        if !hasServed { failedAdoptions += 1 }
        hasServed = false
        if !inherits { estate = keepsEstate && !isWithoutKeeper ? keeper : nil }
        if failedAdoptions > Self.mostFailedAdoptions { dropEstate() }
        isWithoutKeeper = false
        keeper = nil
        ledger.merge(reported.counters)
        // What was connected is gone with it.
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

    /// So many connections are lost, with the worker that had them and its keeper.
    func lost(connections: Int) {
        guard connections > 0 else { return }
        ledger.closed(with: CloseLabel.abnormal, count: connections)
        var restart = Restart(at: Clock.unixMilliseconds())
        restart.lost = connections
        lastRestart = restart
    }

    /// The present worker was started to take over, and has not done so.
    func isTakingOver() { inherits = true }

    /// Nobody can take it over: the keeper closes what it holds.
    func dropEstate() {
        estate = nil
        isRecovering = false
    }

    /// The present worker holds all that the one before had: its keeper may go.
    ///
    /// Returns that keeper, which is to be dismissed once the next supervisor would know, too.
    func committed() -> KeeperChannel? {
        defer { estate = nil }
        inherits = false
        return estate
    }

    /// The present worker has come to where it serves.
    func serves() {
        hasServed = true
        failedAdoptions = 0
    }

    /// The present worker serves what it took over.
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

    /// Statistics with all that only the supervisor knows.
    ///
    /// `fresh`: what the worker says now; nil: take what it said last.
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

/// Holds a child process where a closure can reach it.
final class ChildBox {
    let child: ChildProcess

    init(_ child: consuming ChildProcess) {
        self.child = child
    }
}

/// Holds a process that is no child where a closure can reach it.
final class ForeignBox {
    let process: ForeignProcess

    init(_ process: consuming ForeignProcess) {
        self.process = process
    }
}
