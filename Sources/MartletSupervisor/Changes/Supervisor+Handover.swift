internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// A shard's worker is replaced while it lives: as after a crash, but the old worker can go on if this fails.

extension Supervisor {
    /// Starts the replacement of a shard's worker; calls `respond` with the reason it failed, or nil on success.
    func restart(_ donor: WorkerProcess, _ respond: @escaping (String?) -> Void) {
        guard donor.isServing, donor.handover == nil, scaling == nil, upgrading == nil, stopDeadline == nil,
            leaveDeadline == nil || rolling != nil
        else {
            return respond("the shard is not serving now, or is already being restarted")
        }
        if donor.isWithoutKeeper { return respond("the keeper of its connections has ended: they would be dropped") }
        nextTag += 1
        let heir = WorkerProcess(succeeding: donor, tag: nextTag)
        others.append(heir)
        donor.heir = heir
        donor.onHandover = respond
        donor.handover = unsafe Handover(
            now: loop.now,
            patience: configuration.supervision.handoverTimeout.nanoseconds
        )
        log.info("Replacing a worker", metadata: metadata(donor, [:]))
        start(heir)
        if heir.pid == 0 { otherEnded(heir, "it could not be started") }
    }

    /// Starts the replacement of a shard's worker, and answers the operator that asked for it.
    func restart(_ donor: WorkerProcess, answering respond: @escaping (HTTPResponse) -> Void) {
        restart(donor) { problem in respond(Self.answer(problem, "restarted")) }
    }

    static func answer(_ problem: String?, _ what: String) -> HTTPResponse {
        if let problem { return HTTPProblem(409, "not_\(what)", problem).response }
        return .json(Array("{\"\(what)\":true}".utf8))
    }

    /// Returns the worker with a tag, which its events carry.
    func tagged(_ tag: Int) -> WorkerProcess? { (workers + others).first { $0.tag == tag } }

    func checkHandovers(_ now: UInt64) {
        for worker in workers {
            if let deadline = worker.handover?.deadline, deadline <= now { continueHandover(worker, .timeout) }
        }
        if let deadline = scaling?.deadline, deadline <= now { continueScaling(.timeout) }
        if let deadline = upgrading?.deadline, deadline <= now { giveUpUpgrade("it took too long") }
    }

    /// Handles an event in the replacement of a worker.
    func continueHandover(_ donor: WorkerProcess, _ event: Handover.Event) {
        guard let heir = donor.heir, let action = unsafe donor.handover?.heard(event, now: loop.now) else { return }
        switch action {
        case .none: return
        case .freeze:
            donor.isHeld = true
            heir.pauseBegan(at: Clock.monotonicNanoseconds())
            tell(donor, .freeze)
        case .collect: tell(heir, .collect)
        case .killHeir: heir.end("it did not take over")
        case .commit: commit(donor, heir)
        case .thaw(let reason):
            donor.isHeld = false
            tell(donor, .thaw)
            switchboard.resend(to: donor)
            for packet in donor.takeHeldClients() { passOn(packet, to: donor) }
            finishHandover(donor, reason)
        case .giveUp(let reason): finishHandover(donor, reason)
        case .endBoth:
            heir.end("the worker that it was to replace has ended")
            if donor.lifecycle.hasProcess { donor.end("it did not freeze in time") }
            donor.isHeld = false
            finishHandover(donor, "the old worker ended meanwhile")
        }
    }

    /// Makes the heir the owner of the shard.
    private func commit(_ donor: WorkerProcess, _ heir: WorkerProcess) {
        isStoreStale = true
        dismissals += unsafe [heir.succeed(donor, now: loop.now)].compactMap { $0 }
        workers[donor.shard] = heir
        switchboard.replace(donor, by: heir)
        others.removeAll { $0 === heir }
        others.append(donor)
        retire(donor)
        tellCommit(heir)
        let respond = donor.onHandover
        donor.forgetHandover()
        // The requester gets the answer when the heir serves.
        heir.onHandover = respond
    }

    /// How long a worker of another supervisor may take to leave, since we do not know what it was told.
    private static let longestLeaving: UInt64 = 60_000_000_000

    /// Tells a worker that has lost its shard to answer its HTTP clients, and leave.
    ///
    /// There is a time limit, because a worker that stays could touch what belongs to its heir.
    func retire(_ worker: WorkerProcess) {
        tell(worker, .retire)
        worker.leavesUntil = unsafe loop.now + 2 * (worker.stopTimeout ?? Self.longestLeaving)
    }

    private func finishHandover(_ donor: WorkerProcess, _ problem: String) {
        log.error("A worker was not replaced", metadata: metadata(donor, ["why": "\(problem)"]))
        let respond = donor.onHandover
        donor.heir?.donor = nil
        donor.forgetHandover()
        respond?(problem)
    }

    /// Handles the end of a worker that had no shard, or not yet.
    func otherEnded(_ worker: WorkerProcess, _ end: String) {
        isStoreStale = true
        others.removeAll { $0 === worker }
        worker.forget(end, keepsEstate: false)
        if let donor = worker.donor { continueHandover(donor, .heirEnded(end)) }
        if let heir = scaling?.number(of: worker) {
            worker.closeArena()
            continueScaling(.heirEnded(heir, end))
        }
        if stopDeadline != nil { finishWhenAlone() }
    }
}
