// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How a shard's next worker takes over what the previous one has left: what happens goes into the shard's custody, and what
// that decides is done.
//
// The worker says `ready`. It is told `collect`, and says `collected`, without having changed anything. It is told
// `commit`, and from then on it owns the shard. It says `recovered`, and serves.

extension Supervisor {
    // MARK: What happens to a shard

    /// The worker that has a shard has ended: the next one takes over what it leaves, or nobody does.
    func ownerEnded(_ worker: WorkerProcess, _ end: WorkerEnd, _ stranded: [DescriptorChannel.Packet]) {
        let isStopping = stopDeadline != nil
        let connections = worker.reported.connections
        unsafe worker.lifecycle.ended(at: loop.now, jitter: jitter(), isKilled: end.isKilledByOthers)
        if !isStopping { worker.ledger[.unplannedRestarts] += 1 }
        // The pause begins where the last one that served has ended.
        if worker.custody.hasServed { worker.pauseBegan() }
        // Nobody can go on in memory with an older layout.
        let leaves =
            !isStopping && worker.process?.keeper != nil && worker.process?.isWithoutKeeper == false
            && worker.hasCurrentLayout
        let actions = worker.custody.heard(
            .ended(leaves: leaves, restartsSoon: unsafe worker.lifecycle.restartsSoon(after: loop.now))
        )
        worker.heldClients += stranded
        let keeper = worker.process?.keeper
        worker.forget(end)
        if actions.contains(.keep) { worker.estate = keeper }
        if actions.contains(.lose) {
            worker.estate = nil
            if !isStopping { worker.lost(connections: connections) }
            board.clear(shard: worker.shard)
            worker.answerServing("the new worker ended, and what it had taken over is lost: \(end)")
        }
        act(actions, on: worker)
        if end.isBadConfiguration, !wasReady {
            failure = ConfigurationError(key: "auth.jwks_file", why: "cannot be used: see the line above")
            beginStopping()
        } else if !isStopping {
            log.event(
                .workerEnded,
                metadata: metadata(worker, ["why": "\(end)", "connections": "\(connections)"])
            )
            announceStates()
        }
    }

    func becameReady(_ worker: WorkerProcess) {
        if let donor = worker.donor { return continueHandover(donor, .heirReady) }
        if let heir = scaling?.number(of: worker) { return continueScaling(.heirReady(heir)) }
        act(worker.custody.heard(.ready), on: worker)
    }

    /// Handles the news that a worker holds the sockets of the previous one.
    func collected(_ found: Adoption, _ worker: WorkerProcess) {
        if let donor = worker.donor { return continueHandover(donor, .collected(problem: found.problem)) }
        if let heir = scaling?.number(of: worker) {
            return continueScaling(.collected(heir: heir, problem: found.problem))
        }
        // An heir that was given up may have sent this before it ended.
        guard roster.isOwner(worker), stopDeadline == nil else { return }
        let actions = worker.custody.heard(.collected(isComplete: found.problem == nil))
        if let problem = found.problem, !actions.isEmpty {
            log.error("A worker cannot take over", metadata: metadata(worker, ["why": "\(problem)"]))
        }
        act(actions, on: worker)
    }

    /// Notes that a worker has taken over, and serves.
    func recovered(_ outcome: Adoption, _ worker: WorkerProcess) {
        let restart = worker.recovered(outcome)
        // A worker that is unconfirmed, and under an attacker's control, may say so again and again.
        if unsafe worker.mayLog(now: loop.now) {
            let numbers: Logger.Metadata = [
                "connections_kept": "\(restart.kept)", "connections_lost": "\(restart.lost)",
                "pause_ms": "\(restart.pauseMilliseconds)", "positions_unrecorded": "\(outcome.unrecorded)",
            ]
            let level: Logger.Level = worker.isPlanned && restart.lost == 0 ? .info : .warning
            log.event(.workerTookOver, level: level, metadata: metadata(worker, numbers))
            log.debug("The parts of the pause", metadata: metadata(worker, phases(of: restart)))
        }
        act(worker.custody.heard(.recovered), on: worker)
        worker.answerServing(nil)
        finishScaling()
    }

    private func phases(of restart: Restart) -> Logger.Metadata {
        [
            "prepare_us": "\(restart.preparing)", "collect_us": "\(restart.collecting)",
            "recover_us": "\(restart.recovering)",
        ]
    }

    // MARK: What is done about it

    /// Does what a shard's custody decided, in order.
    func act(_ actions: [ShardCustody.Action], on worker: WorkerProcess) {
        for action in actions {
            switch action {
            case .collect:
                worker.collectBegan()
                tell(worker, .collect)
            case .commit: commit(to: worker)
            case .end: worker.end("it could not take over")
            case .forgetRooms: switchboard.workerServes(worker.shard)
            case .serve: serves(worker)
            case .release: release(worker)
            // Whatever the end of its process leaves was seen to with that (``ownerEnded``).
            case .keep, .lose, .hold: break
            case .fail:
                switchboard.shardFailed(worker.shard)
                giveBack(worker.takeHeldClients())
            }
        }
    }

    /// From here on the worker owns the shard, and will say what it made of it.
    ///
    /// The keeper of the previous worker is dismissed as soon as the next supervisor would know that.
    private func commit(to worker: WorkerProcess) {
        if let keeper = worker.estate { dismissals.append(keeper) }
        worker.estate = nil
        isStoreStale = true
        worker.commitBegan()
        tell(worker, .commit)
    }

    /// Passes on what waited for the worker.
    private func release(_ worker: WorkerProcess) {
        takeOldPost(of: worker)
        switchboard.resend(to: worker)
        for packet in worker.takeHeldClients() { passOn(packet, to: worker) }
    }

    func serves(_ worker: WorkerProcess) {
        guard unsafe worker.lifecycle.becameReady(at: loop.now) else { return }
        log.info("A worker serves", metadata: metadata(worker, ["pid": "\(worker.pid)"]))
        announceStates()
        guard !wasReady, workers.allSatisfy(\.isServing) else { return }
        startIsOver()
        busyUntil = 0
        log.event(
            .serves,
            metadata: [
                "workers": "\(workers.count)", "client": "\(listeners.clientAddress)", "api": "\(listeners.apiAddress)",
                "control": "\(configuration.controlSocket)",
            ].merging(listeners.metrics.isEmpty ? [:] : ["metrics": "\(listeners.metricsAddress)"]) { $1 }
        )
        if configuration.isDevelopment { log.info("Demo page: \(listeners.demoPage)") }
        notes.ready()
    }

    /// The start is over: the service manager is told, once.
    func startIsOver() {
        wasReady = true
        if case .starting = undertaking.present { undertaking.end() }
    }
}
