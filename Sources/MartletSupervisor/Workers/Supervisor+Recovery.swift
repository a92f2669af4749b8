internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How a shard's next worker takes over what the previous one has left: its memory, and its sockets, from the keeper.
//
// The worker says `ready`. It is told `collect`, and says `collected`, without having changed anything. It is told
// `commit`, and from then on it owns the shard. It says `recovered`, and serves.

extension Supervisor {
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
        log.event(
            .workerTookOver,
            level: worker.isPlanned && restart.lost == 0 ? .info : .warning,
            metadata: metadata(
                worker,
                [
                    "connections_kept": "\(restart.kept)", "connections_lost": "\(restart.lost)",
                    "pause_ms": "\(restart.pauseMilliseconds)", "positions_unrecorded": "\(outcome.unrecorded)",
                ]
            )
        )
        act(worker.custody.heard(.recovered), on: worker)
        worker.answerServing(nil)
        finishScaling()
    }

    // MARK: Keepers

    /// Handles a keeper's first message; its later messages are for the worker that inherits.
    func keeperSpoke(_ worker: WorkerProcess?) {
        guard let process = worker?.process, !process.isKeeperKnown, let keeper = process.keeper else { return }
        process.isKeeperKnown = true
        loop.deregister(keeper.channel)
        // Its worker may have been killed right after the start: the keeper reports at once, or there is none.
        guard case .born(let pid)? = try? keeper.wait(milliseconds: 100), let watched = WatchedProcess(pid: pid) else {
            return
        }
        guard (try? loop.register(watched.handle, token: Source.keeperEnd.token(Int(pid)), interest: .readable)) != nil
        else { return }
        keepers[pid] = watched
        process.keeperPid = pid
        isStoreStale = true
    }

    func keeperEnded(_ pid: Int32) {
        guard let keeper = keepers.removeValue(forKey: pid) else { return }
        loop.deregister(keeper.handle)
        keeper.reap()
        guard let worker = workers.first(where: { $0.process?.keeperPid == pid }), stopDeadline == nil else { return }
        worker.process?.isWithoutKeeper = true
        log.error(
            "A keeper has ended: its worker cannot be replaced without dropping its connections",
            metadata: metadata(worker, ["connections": "\(worker.reported.connections)"])
        )
    }
}
