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
        guard worker.inherits, workers.contains(where: { $0 === worker }), stopDeadline == nil else { return }
        if let problem = found.problem {
            log.error("A worker cannot take over", metadata: metadata(worker, ["why": "\(problem)"]))
            worker.end("it could not take over")
            return
        }
        dismissals += [worker.committed()].compactMap { $0 }
        isStoreStale = true
        tellCommit(worker)
    }

    /// Tells a worker that it owns the shard from now on; it will report the result.
    func tellCommit(_ worker: WorkerProcess) {
        worker.owesRecovery = true
        tell(worker, .commit)
    }

    /// Notes that a worker has taken over, and serves.
    func recovered(_ outcome: Adoption, _ worker: WorkerProcess) {
        worker.recovered(outcome)
        let restart = worker.lastRestart ?? Restart(at: 0)
        log.log(
            level: worker.isPlanned && restart.lost == 0 ? .info : .warning,
            "A worker has taken over",
            metadata: metadata(
                worker,
                [
                    "connections_kept": "\(restart.kept)", "connections_lost": "\(restart.lost)",
                    "pause_ms": "\(restart.pauseMilliseconds)", "positions_unrecorded": "\(outcome.unrecorded)",
                ]
            )
        )
        serves(worker)
        switchboard.resend(to: worker)
        for packet in worker.takeHeldClients() { passOn(packet, to: worker) }
        worker.answerHandover(nil)
        finishScaling()
    }

    // MARK: Keepers

    /// Handles a keeper's first message; its later messages are for the worker that inherits.
    func keeperSpoke(_ worker: WorkerProcess?) {
        guard let worker, !worker.isKeeperKnown, let keeper = worker.keeper else { return }
        worker.isKeeperKnown = true
        loop.deregister(keeper.channel)
        // Its worker may have been killed right after the start: the keeper reports at once, or there is none.
        guard case .born(let pid)? = try? keeper.wait(milliseconds: 100), let watched = WatchedProcess(pid: pid) else {
            return
        }
        guard (try? loop.register(watched.handle, token: Source.keeperEnd.token(Int(pid)), interest: .readable)) != nil
        else { return }
        keepers[pid] = watched
        worker.keeperPid = pid
        isStoreStale = true
    }

    func keeperEnded(_ pid: Int32) {
        guard let keeper = keepers.removeValue(forKey: pid) else { return }
        loop.deregister(keeper.handle)
        keeper.reap()
        guard let worker = workers.first(where: { $0.keeperPid == pid && $0.pid > 0 }), stopDeadline == nil else {
            return
        }
        worker.isWithoutKeeper = true
        log.error(
            "A keeper has ended: its worker cannot be replaced without dropping its connections",
            metadata: metadata(worker, ["connections": "\(worker.reported.connections)"])
        )
    }
}
