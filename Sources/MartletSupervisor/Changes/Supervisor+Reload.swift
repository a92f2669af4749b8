// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How a new configuration reaches the workers: their successors start with it, one shard after another.

extension Supervisor {
    /// Reads the configuration again, and replaces every worker.
    ///
    /// Calls `respond` with the reason it failed, or nil on success. A configuration that cannot be used, or that needs
    /// a new start, leaves everything as it is.
    func reload(_ respond: @escaping (String?) -> Void) {
        if let refusal = refusal(toBegin: .renew) {
            log.event(.notReloaded, metadata: ["why": "\(refusal)"])
            return respond(refusal)
        }
        var (new, newSecrets): (Configuration, SecretReading)
        do {
            (new, newSecrets) = try reread()
            newSecrets.keepMadeUpSecret(secrets.secrets.hmac)
            try newSecrets.checkBackends(isNetwork: listeners.isAPIOnNetwork)
        } catch {
            log.event(.notReloaded, metadata: ["why": "\(error)"])
            return respond("\(error)")
        }
        if let key = needsStart(new) {
            let why = "\(key) cannot be changed while the service is running: restart the service"
            log.event(.notReloaded, metadata: ["why": "\(why)"])
            return respond(why)
        }
        let old = (configuration, secrets)
        (configuration, secrets) = (new, newSecrets)
        warnOfFewDescriptors()
        log.info("Reloading")
        renew { problem in
            if let problem {
                (self.configuration, self.secrets) = old
                return respond(problem)
            }
            self.log.event(.reloaded)
            respond(nil)
        }
    }

    /// Replaces every worker, one after another, or all at once if they need new memory.
    ///
    /// Calls `onEnd` with the reason it failed, or nil on success.
    func renew(_ onEnd: @escaping (String?) -> Void) {
        if let refusal = refusal(toBegin: .renew) { return onEnd(refusal) }
        if hasCurrentMemory { return roll(onEnd) }
        scale(to: workers.count, isForced: true) { problem in
            // A process that stops, or leaves its workers to the next one, begins nothing more.
            guard let problem, self.refusal(toBegin: .renew) == nil else { return onEnd(problem) }
            // In memory with an older layout, only the workers that are there can go on.
            if self.workers.contains(where: { !$0.hasCurrentLayout }) { return onEnd(problem) }
            // It is better to keep the old memory than old programs or an old configuration.
            self.log.error("Workers still use memory that they can resize", metadata: ["why": "\(problem)"])
            self.roll(onEnd)
        }
    }

    /// False if some memory is as previous versions made it: no next worker can go on in it, but only copy from it.
    ///
    /// Either its layout is older, or its size can be changed by any worker, which would end all processes that have it
    /// mapped.
    var hasCurrentMemory: Bool {
        SharedMemory.isFixed(board.memory.number)
            && workers.allSatisfy { $0.arena < 0 || (SharedMemory.isFixed($0.arena) && $0.hasCurrentLayout) }
    }

    /// Replaces every worker, one after another; calls `onEnd` with the reason it ended early, or nil on success.
    func roll(_ onEnd: @escaping (String?) -> Void) {
        let rolling = Rolling(onEnd)
        undertaking.begin(.rolling(rolling))
        isStoreStale = true
        notes.reloading()
        replace(workers[0]) { rolling.outcome = .some($0) }
    }

    /// Goes on with the next shard when one is done.
    func continueRolling() {
        guard let rolling, let outcome = rolling.outcome else { return }
        rolling.outcome = nil
        if let problem = outcome {
            endRolling()
            return rolling.onEnd("shard \(rolling.shard) keeps its old worker: \(problem)")
        }
        rolling.shard += 1
        if rolling.shard < workers.count {
            replace(workers[rolling.shard]) { rolling.outcome = .some($0) }
        } else {
            endRolling()
            rolling.onEnd(nil)
        }
    }

    private func endRolling() {
        undertaking.end()
        isStoreStale = true
        notes.ready()
    }

    /// Returns the first changed key that only a new start can put in force.
    private func needsStart(_ new: Configuration) -> String? {
        if let key = StartOnly(configuration).firstObstacle(to: StartOnly(new)) { return key }
        if configuration.supervision != new.supervision { return "supervision" }
        if configuration.log != new.log { return "log" }
        return nil
    }
}
