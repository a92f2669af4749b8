internal import MartletCore
internal import MartletLinux
internal import MartletWire

// The shard is handed over to another worker while this one lives: freeze, then either retire or thaw.

extension Worker {
    /// From here on nothing of a client moves: the arena stands still, and so do the kernel's positions.
    func freeze(_ manager: isolated WebSocketManager) {
        Fault.at(.freeze)
        phase = .frozen
        door.pause()
        sockets.unwatchAll()
        link.send(.alive, CommandCoding.encode(.shard(statistics(byUser: false, manager))))
        Fault.at(.frozen)
        if let slot = Fault.damagedSlot { sockets.arena.slot(slot).identity = 0 }
        link.send(.frozen)
    }

    /// The other one did not take over: everything goes on as before.
    func thaw(_ manager: isolated WebSocketManager) {
        if phase == .freezing { phase = .serving }
        guard phase == .frozen else { return }
        phase = .serving
        sockets.watchAll()
        door.resume()
        shard.resumeHealth(on: manager)
    }

    /// The shard is another worker's: our numbers of its sockets are closed, which no client notices.
    func retire() {
        guard phase == .frozen else { return }
        Fault.at(.retire)
        phase = .retired
        sockets.abandon()
        router.isRetired = true
        door.retire()
        if Fault.keepsRetired { return }
        loop.setTimer(after: contract.timing.stopTimeout, token: EventToken.timer(.drained).rawValue)
    }
}
