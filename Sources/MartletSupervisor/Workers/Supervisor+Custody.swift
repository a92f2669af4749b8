internal import MartletCore
internal import MartletWire

// What the custody of a shard asks the supervisor to do.

extension Supervisor {
    /// Does what a shard's custody decided, in order.
    func act(_ actions: [ShardCustody.Action], on worker: WorkerProcess) {
        for action in actions {
            switch action {
            case .collect: tell(worker, .collect)
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
        tell(worker, .commit)
    }

    /// Passes on what waited for the worker.
    private func release(_ worker: WorkerProcess) {
        takeOldPost(of: worker)
        switchboard.resend(to: worker)
        for packet in worker.takeHeldClients() { passOn(packet, to: worker) }
    }
}
