// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How the service stops: every worker closes its clients, and then there is nothing left to supervise.

extension Supervisor {
    func received(_ arrival: SignalSource.Arrival) {
        switch arrival {
        case .signal(let signal): received(signal)
        case .meaningless(let name, let sender):
            log.info("Ignored a signal that is not used", metadata: ["signal": "\(name)", "sender": "\(sender)"])
        }
    }

    private func received(_ signal: Signal) {
        if signal == .hangup { return reload { _ in } }
        if undertaking.stopDeadline != nil {
            log.warning("Stopping at once", metadata: ["signal": "\(signal.name)"])
            for worker in workers + others where worker.lifecycle.hasProcess { worker.end("a second \(signal.name)") }
            return
        }
        if signal == .terminate, store != nil { return leave() }
        log.info("Stopping", metadata: ["signal": "\(signal.name)"])
        beginStopping()
    }

    /// Stops for good; calls `onEnd` when every worker has ended, for the operator that asked for this.
    func stop(_ onEnd: @escaping () -> Void) {
        if stopDeadline == nil { log.info("Stopping", metadata: ["asked": "martletctl stop"]) }
        onStopped.append(onEnd)
        beginStopping()
    }

    func beginStopping() {
        guard stopDeadline == nil else { return }
        notes.stopping()
        busyUntil = unsafe loop.now + configuration.supervision.handoverTimeout.nanoseconds + 5_000_000_000
        let interrupted = undertaking
        undertaking = unsafe .stopping(deadline: loop.now + configuration.supervision.handoverTimeout.nanoseconds)
        if listeners.control >= 0 { loop.deregister(listeners.control) }
        unwatchListeners()
        for worker in workers {
            // Nothing is handed over any more: the heir holds the donor's sockets, and must not go on with them.
            guard let replacement = worker.replacement else { continue }
            worker.replacement = nil
            replacement.heir.donor = nil
            replacement.heir.end("the service stops")
            replacement.respond("the service stops")
        }
        answerUndertaking(interrupted, "the service stops")
        if let scaling = interrupted.scaling, !scaling.isCommitted {
            scaling.heirs.forEach { $0.end("the service stops") }
        }
        for worker in workers { worker.answerServing("the service stops") }
        switchboard.refuseHeld()
        // Whoever was answered may have taken a configuration back, which concerns open listeners.
        listeners.close()
        for worker in workers + others {
            tell(worker, .stop)
            worker.lifecycle.stopRequested()
        }
        finishWhenAlone()
    }

    /// Tells whoever waits for what was under way that this process does not end it.
    func answerUndertaking(_ undertaking: Undertaking, _ why: String) {
        undertaking.scaling?.respond(why)
        undertaking.rolling?.onEnd(why)
        if let upgrading = undertaking.upgrading {
            upgrading.check.kill()
            upgrading.respond(Self.answer(why, "upgraded"))
        }
    }

    func finishWhenAlone() {
        if !(workers + others).contains(where: \.lifecycle.hasProcess) { finish() }
    }

    func finish() {
        guard !isFinished else { return }
        isFinished = true
        for onEnd in onStopped { onEnd() }
        control.stop()
        store?.empty()
        log.event(.stopped)
        loop.stop()
    }
}
