// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// One shard's seat, with the worker that sits on it: what outlives workers, the present process, and its replacement.
///
/// An heir is one, too: it has a seat of its own, until a replacement's commit puts it in the place of the other.
final class WorkerProcess {
    // MARK: The seat

    let shard: Int
    /// Tells its events apart from those of other workers, including those of the same shard.
    let tag: Int
    /// When a process is started, and when one is ended.
    var lifecycle: WorkerLifecycle
    /// Who has the shard, and what is done with whatever comes for it.
    var custody: ShardCustody
    /// The number of the worker among those of this shard.
    var generation: UInt32 = 0
    /// The shard's memory, which outlives its workers; -1 before the first worker.
    var arena: Int32 = -1
    /// What earlier workers of this shard had counted, so that counters never decrease.
    var ledger = Counters()
    /// What a worker that has ended left behind, until the next one has taken it over.
    var estate: KeeperChannel?
    /// Clients' sockets that came for the shard while no worker could take them.
    var heldClients: [DescriptorChannel.Packet] = []
    /// The post of the previous supervisor, until everything that came over it is taken.
    var oldPost: DescriptorChannel?
    /// How the previous worker ended.
    var lastEnd: String?
    private(set) var lastRestart: Restart?
    /// When the present pause began.
    private var pausedAt: UInt64 = 0
    /// When it was told to collect, and when to commit; 0: it was not.
    private var collectsSince: UInt64 = 0
    private var commitsSince: UInt64 = 0
    private let policy: WorkerLifecycle.Policy

    // MARK: The process

    /// The worker that runs; nil: there is none.
    var process: RunningWorker?
    /// When it must have ended, because it has no shard any more; nil: it has one.
    var leavesUntil: UInt64?

    // MARK: The replacement

    /// The replacement of this worker that is under way; nil: there is none.
    var replacement: Replacement?
    /// The worker that this one will replace.
    weak var donor: WorkerProcess?
    /// The workers that this one takes users from, as one of a new number of shards.
    private(set) var donors: Donors?
    /// Told when this worker, which has replaced another one, serves, or why it never will.
    private var onServing: ((String?) -> Void)?

    /// A shard without a worker.
    ///
    /// `waits` says whether whatever comes for it waits for the first worker.
    init(shard: Int, tag: Int, policy: WorkerLifecycle.Policy, waits: Bool) {
        self.shard = shard
        self.tag = tag
        self.policy = policy
        lifecycle = WorkerLifecycle(policy: policy)
        custody = ShardCustody(.vacant(left: false), waits: waits)
    }

    /// A worker that will take over from one that lives.
    init(succeeding donor: WorkerProcess, tag: Int) {
        shard = donor.shard
        self.tag = tag
        policy = donor.policy
        lifecycle = WorkerLifecycle(policy: donor.policy)
        generation = donor.generation
        arena = donor.arena
        estate = donor.process?.keeper
        custody = ShardCustody(.vacant(left: estate != nil), waits: false)
        self.donor = donor
    }

    /// A worker of a new number of shards, which takes its users from all previous workers.
    ///
    /// `generation` is higher than theirs, so that no message to one is taken for a message to another.
    init(shard: Int, tag: Int, takingFrom donors: Donors, after generation: UInt32) {
        self.shard = shard
        self.tag = tag
        policy = donors.workers[0].policy
        lifecycle = WorkerLifecycle(policy: policy)
        custody = ShardCustody(.vacant(left: false), waits: false)
        self.generation = generation
        self.donors = donors
    }

    /// A worker as another supervisor has left it.
    ///
    /// - Parameters:
    ///   - shard: The shard, whose number is the tag, too.
    ///   - policy: The policy of restarts.
    ///   - lifecycle: Where its life stands.
    ///   - custody: Who has the shard.
    ///   - generation: The number of the last worker among those of this shard.
    ///   - process: The worker that runs; nil: there is none.
    init(
        shard: Int,
        policy: WorkerLifecycle.Policy,
        lifecycle: WorkerLifecycle,
        custody: ShardCustody,
        generation: UInt32,
        process: RunningWorker?
    ) {
        self.shard = shard
        tag = shard
        self.policy = policy
        self.lifecycle = lifecycle
        self.custody = custody
        self.generation = generation
        self.process = process
    }

    // MARK: What it is

    var isServing: Bool { lifecycle.shardState == .serving }

    /// The state of the shard, as others are told.
    var state: ShardState {
        let state = lifecycle.shardState
        return custody.isRecovering && (state == .down || state == .starting) ? .recovering : state
    }

    /// The process id; 0: there is no process.
    var pid: Int32 { process?.pid ?? 0 }

    /// What the process reported last; empty where there is none.
    var reported: ShardStatistics { process?.reported ?? ShardStatistics() }

    /// Returns the statistics, completed with what only the supervisor knows.
    ///
    /// `fresh` is what the worker says now; nil: use what it said last.
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

    // MARK: What happens to it

    /// Ends the process, if there is one; its end is learned from its handle.
    func end(_ reason: String) { process?.end(reason) }

    /// Lets go of everything that belonged to a process that has ended.
    func forget(_ end: WorkerEnd) {
        ledger.merge(reported.counters)
        lastEnd = end.description
        process = nil
    }

    /// Closes the shard's memory, which nobody needs any more.
    func closeArena() {
        if arena >= 0 { closeDescriptor(arena) }
        arena = -1
    }

    func takeHeldClients() -> [DescriptorChannel.Packet] {
        defer { heldClients = [] }
        return heldClients
    }

    func pauseBegan() {
        pausedAt = Clock.monotonicNanoseconds()
        (collectsSince, commitsSince) = (0, 0)
    }

    func collectBegan() { collectsSince = Clock.monotonicNanoseconds() }

    func commitBegan() { commitsSince = Clock.monotonicNanoseconds() }

    /// Counts connections as lost, together with the worker that had them and its keeper.
    func lost(connections: Int) {
        guard connections > 0 else { return }
        ledger.closed(with: CloseLabel.abnormal, count: connections)
        var restart = Restart(at: Clock.unixMilliseconds())
        restart.lost = connections
        lastRestart = restart
    }

    /// Notes what the present worker, which serves now, made of what it took over.
    func recovered(_ outcome: Adoption) -> Restart {
        var restart = Restart(at: Clock.unixMilliseconds())
        restart.kept = outcome.kept
        restart.lost = outcome.lost
        restart.unrecorded = outcome.unrecorded
        let now = Clock.monotonicNanoseconds()
        restart.pauseMilliseconds = Int((now - pausedAt) / 1_000_000)
        if pausedAt <= collectsSince, collectsSince <= commitsSince {
            restart.preparing = Int((collectsSince - pausedAt) / 1000)
            restart.collecting = Int((commitsSince - collectsSince) / 1000)
            restart.recovering = Int((now - commitsSince) / 1000)
        }
        lastRestart = restart
        return restart
    }

    /// Continues the records of a previous supervisor.
    func resume(lastEnd: String?, lastRestart: Restart?) {
        self.lastEnd = lastEnd
        self.lastRestart = lastRestart
    }

    // MARK: What a replacement makes of it

    /// Takes the place of the donor: the shard is ours, and what the donor had counted, too.
    ///
    /// `respond` is told when this worker serves.
    func succeed(_ donor: WorkerProcess, now: UInt64, _ respond: ((String?) -> Void)?) {
        ledger = donor.ledger
        takeOver(countersOf: donor)
        donor.arena = -1
        lifecycle.succeeds(donor.lifecycle)
        // How long the taking over may take is its own affair.
        lifecycle.started(at: now)
        lastEnd = Self.restarted
        ledger[.plannedRestarts] += 1
        // Clients that were queued for the donor come first: it had not seen them.
        heldClients = (donor.process?.post.takeWaiting() ?? []) + donor.takeHeldClients()
        self.donor = nil
        onServing = respond
    }

    /// Has a shard of a new number of shards from now on, and keeps what these donors had counted.
    func succeed(countersOf donors: [WorkerProcess], now: UInt64) {
        for donor in donors {
            ledger.merge(donor.ledger)
            takeOver(countersOf: donor)
        }
        if let donor = donors.first { lifecycle.succeeds(donor.lifecycle) }
        lifecycle.started(at: now)
        lastEnd = Self.scaled
        ledger[.plannedRestarts] += 1
        self.donors = nil
    }

    private func takeOver(countersOf donor: WorkerProcess) {
        ledger.merge(donor.reported.counters)
        donor.process?.reported = ShardStatistics()
    }

    /// Tells whoever asked for this worker's coming what it came to: nil, or why it failed.
    func answerServing(_ problem: String?) {
        let respond = onServing
        onServing = nil
        respond?(problem)
    }
}
