// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How the shard is handed over to another worker while this one lives: freeze, then either retire or thaw.

extension Worker {
    /// Stops all reading and writing of clients, so that neither the arena nor the kernel's positions change.
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

    /// Goes on as before, because the other worker did not take over.
    func thaw(_ manager: isolated WebSocketManager) {
        if phase == .freezing { phase = .serving }
        guard phase == .frozen else { return }
        phase = .serving
        sockets.watchAll()
        door.resume()
        shard.resumeHealth(on: manager)
    }

    /// Gives up the shard, which another worker has now, and closes our copies of its sockets, which no client notices.
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
