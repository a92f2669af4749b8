// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux

// Listening sockets are shared with every worker, and shutdown(2) by any process that holds one ends accepting for all.
// A worker cannot do this (seccomp); if another process does it, it is noticed and fixed.

extension Supervisor {
    /// Watches for operators, if they can connect.
    func watchControl() throws(SystemCallError) {
        guard listeners.control >= 0 else { return }
        try loop.register(listeners.control, token: Source.control.token(), interest: .readable)
    }

    /// Watches for the end of each listening socket.
    func watchListeners() throws(SystemCallError) {
        listenerNames = listeners.all.map { Listener.name(of: $0) }
        for (index, listener) in listeners.all.enumerated() {
            try loop.register(listener, token: Source.listener.token(index), interest: .end)
        }
    }

    func unwatchListeners() {
        for listener in listeners.all { loop.deregister(listener) }
        listenerNames = []
    }

    /// Handles a listening socket that somebody has shut down.
    func listenerEnded(_ index: Int) {
        guard listeners.all.indices.contains(index), listenerNames.indices.contains(index) else { return }
        let old = listeners.all[index]
        // A socket that cannot be fixed would be reported forever, and a replaced one would not be reported any more.
        loop.deregister(old)
        switch listeners.heal(index, name: listenerNames[index]) {
        case .listensAgain: log.error("A listening socket was shut down, and listens again")
        case .replaced:
            log.error("A listening socket was shut down, and another one listens in its place")
            listeners.watchBackends(configuration.api.timeout)
            holdOldListeners = true
            passNewListeners()
        case .lost(let why):
            log.error("A listening socket was shut down, and nobody can connect to it", metadata: ["why": "\(why)"])
            return
        }
        let token = Source.listener.token(index)
        try? loop.register(listeners.all[index], token: token, interest: .end)
    }

    /// Replaces the workers that hold a socket that was shut down, as soon as nothing else is being replaced.
    func passNewListeners() {
        guard holdOldListeners, refusal(toBegin: .renew) == nil,
            workers.allSatisfy({ $0.isServing && $0.replacement == nil })
        else { return }
        holdOldListeners = false
        renew { problem in
            guard let problem else { return }
            self.log.error("Workers still hold a socket that was shut down", metadata: ["why": "\(problem)"])
        }
    }
}
