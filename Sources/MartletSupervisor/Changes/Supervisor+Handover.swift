// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// A shard's worker is replaced while it lives: as after a crash, but the old worker can go on if this fails.

extension Supervisor {
    /// Starts the replacement of a shard's worker; calls `respond` with the reason it failed, or nil on success.
    func replace(_ donor: WorkerProcess, _ respond: @escaping (String?) -> Void) {
        if let obstacle = obstacle(toReplace: donor) { return respond(obstacle) }
        keeperSpoke(donor)
        nextTag += 1
        let heir = WorkerProcess(succeeding: donor, tag: nextTag)
        roster.others.append(heir)
        let steps = unsafe Handover(
            now: loop.now,
            patience: configuration.supervision.handoverTimeout.nanoseconds
        )
        donor.replacement = Replacement(steps: steps, heir: heir, respond: respond)
        log.info("Replacing a worker", metadata: metadata(donor, [:]))
        start(heir)
        if heir.process == nil { otherEnded(heir, WorkerEnd("it could not be started")) }
    }

    /// Starts the replacement of a shard's worker, and answers the operator that asked for it.
    func restart(_ donor: WorkerProcess, answering respond: @escaping (HTTPResponse) -> Void) {
        if let refusal = refusal(toBegin: .restart(donor)) { return respond(Self.answer(refusal, "restarted")) }
        replace(donor) { problem in respond(Self.answer(problem, "restarted")) }
    }

    static func answer(_ problem: String?, _ what: String) -> HTTPResponse {
        if let problem { return HTTPProblem(409, "not_\(what)", problem).response }
        return .json(Array("{\"\(what)\":true}".utf8))
    }

    func checkHandovers(_ now: UInt64) {
        for worker in workers {
            if let deadline = worker.replacement?.steps.deadline, deadline <= now { continueHandover(worker, .timeout) }
        }
        if let deadline = scaling?.deadline, deadline <= now { continueScaling(.timeout) }
        if let deadline = upgrading?.deadline, deadline <= now { giveUpUpgrade("it took too long") }
    }

    /// Handles an event in the replacement of a worker.
    func continueHandover(_ donor: WorkerProcess, _ event: Handover.Event) {
        guard let heir = donor.replacement?.heir,
            let action = unsafe donor.replacement?.steps.heard(event, now: loop.now)
        else { return }
        switch action {
        case .none: return
        case .freeze:
            _ = donor.custody.heard(.froze)
            heir.pauseBegan()
            tell(donor, .freeze)
        case .collect:
            heir.collectBegan()
            tell(heir, .collect)
        case .killHeir: heir.end("it did not take over")
        case .commit: commit(donor, heir)
        case .thaw(let reason):
            tell(donor, .thaw)
            act(donor.custody.heard(.thawed), on: donor)
            finishHandover(donor, reason)
        case .giveUp(let reason): finishHandover(donor, reason)
        case .endBoth:
            heir.end("the worker that it was to replace has ended")
            if donor.lifecycle.hasProcess { donor.end("it did not freeze in time") }
            finishHandover(donor, "the old worker ended meanwhile")
        }
    }

    /// Makes the heir the owner of the shard.
    private func commit(_ donor: WorkerProcess, _ heir: WorkerProcess) {
        isStoreStale = true
        unsafe heir.succeed(donor, now: loop.now, donor.replacement?.respond)
        donor.replacement = nil
        roster.replace(donor, by: heir)
        retire(donor)
        act(heir.custody.heard(.committed), on: heir)
    }

    /// How long a worker of another supervisor may take to leave, since we do not know what it was told.
    private static let longestLeaving: UInt64 = 60_000_000_000

    /// Tells a worker that has lost its shard to answer its HTTP clients, and leave.
    ///
    /// There is a time limit, because a worker that stays could touch what belongs to its heir.
    func retire(_ worker: WorkerProcess) {
        tell(worker, .retire)
        worker.leavesUntil = unsafe loop.now + 2 * (worker.process?.stopTimeout ?? Self.longestLeaving)
    }

    private func finishHandover(_ donor: WorkerProcess, _ problem: String) {
        log.event(.workerNotReplaced, metadata: metadata(donor, ["why": "\(problem)"]))
        let replacement = donor.replacement
        replacement?.heir.donor = nil
        donor.replacement = nil
        replacement?.respond(problem)
    }

    /// Handles the end of a worker that had no shard, or not yet.
    func otherEnded(_ worker: WorkerProcess, _ end: WorkerEnd) {
        isStoreStale = true
        roster.others.removeAll { $0 === worker }
        _ = worker.custody.heard(.ended(leaves: false, restartsSoon: false))
        worker.estate = nil
        worker.forget(end)
        if let donor = worker.donor { continueHandover(donor, .heirEnded(end.description)) }
        if let heir = scaling?.number(of: worker) {
            worker.closeArena()
            continueScaling(.heirEnded(heir, end.description))
        }
        if stopDeadline != nil { finishWhenAlone() }
    }
}
