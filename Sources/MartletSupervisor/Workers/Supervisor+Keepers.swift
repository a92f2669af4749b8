// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux

// The keepers of workers: who they are, and that one has ended.

extension Supervisor {
    /// Handles a keeper's first message; its later messages are for the worker that inherits.
    ///
    /// Whoever passes the channel to an heir calls this before: of two that read one channel, each would miss what the other took.
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
