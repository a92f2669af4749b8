internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletSystemd
internal import MartletWire

// The end: every worker closes its clients, and then there is nothing left to supervise.

extension Supervisor {
    func received(_ signal: Signal) {
        if signal == .hangup { return reload { _ in } }
        if stopDeadline != nil {
            log.warning("Stopping at once", metadata: ["signal": "\(signal.name)"])
            for worker in workers + others where worker.lifecycle.hasProcess { worker.end("a second \(signal.name)") }
            return
        }
        log.info("Stopping", metadata: ["signal": "\(signal.name)"])
        beginStopping()
    }

    func beginStopping() {
        guard stopDeadline == nil else { return }
        Systemd.notify("STOPPING=1")
        stopDeadline = unsafe loop.now + configuration.supervision.handoverTimeout.nanoseconds
        loop.deregister(listeners.control)
        listeners.close()
        for worker in workers {
            // Nothing is handed over any more: the heir holds the donor's sockets, and must not get them.
            worker.heir?.donor = nil
            worker.heir?.end("the service stops")
            worker.forgetHandover()
        }
        upgrading = nil
        scaling?.heirs.forEach { $0.end("the service stops") }
        scaling = nil
        for worker in workers + others {
            tell(worker, .stop)
            worker.lifecycle.stopRequested()
        }
        finishWhenAlone()
    }

    func finishWhenAlone() {
        if !(workers + others).contains(where: \.lifecycle.hasProcess) { finish() }
    }

    func finish() {
        guard !isFinished else { return }
        isFinished = true
        control.stop()
        log.info("Stopped")
        loop.stop()
    }
}
