internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// A new configuration reaches the workers as their successors are born with it, one shard after another.

extension Supervisor {
    /// Reads the configuration again and replaces every worker; `respond` is told why not, or nil.
    ///
    /// A configuration that cannot be used, or that needs another start, leaves everything as it is.
    func reload(_ respond: @escaping (String?) -> Void) {
        guard reloading == nil, stopDeadline == nil else { return respond("a reload is under way already") }
        let (new, newSecrets): (Configuration, SecretReading)
        do {
            (new, newSecrets) = try reread()
            try newSecrets.checkBackends(isNetwork: listeners.isAPIOnNetwork)
        } catch {
            log.error("The configuration was not reloaded", metadata: ["why": "\(error)"])
            return respond("\(error)")
        }
        if let key = Self.needsStart(from: configuration, to: new) {
            let why = "\(key) cannot be changed while the service runs: restart it"
            log.error("The configuration was not reloaded", metadata: ["why": "\(why)"])
            return respond(why)
        }
        let reloading = Reloading((configuration, secrets), respond)
        (configuration, secrets) = (new, newSecrets)
        self.reloading = reloading
        log.info("Reloading")
        restart(workers[0]) { reloading.outcome = .some($0) }
    }

    /// Goes on with the next shard when one is done.
    func continueReload() {
        guard let reloading, let outcome = reloading.outcome else { return }
        reloading.outcome = nil
        if let problem = outcome {
            (configuration, secrets) = reloading.old
            self.reloading = nil
            reloading.respond("shard \(reloading.shard) keeps its old configuration: \(problem)")
            return
        }
        reloading.shard += 1
        if reloading.shard < workers.count {
            restart(workers[reloading.shard]) { reloading.outcome = .some($0) }
        } else {
            self.reloading = nil
            log.info("Reloaded")
            reloading.respond(nil)
        }
    }

    /// The first key that only a new start can change.
    private static func needsStart(from old: Configuration, to new: Configuration) -> String? {
        if old.workers != new.workers { return "workers" }
        if old.client.listen != new.client.listen { return "client.listen" }
        if old.api.listen != new.api.listen { return "api.listen" }
        if old.controlSocket != new.controlSocket { return "control_socket" }
        // The arenas and the board have their size from these.
        if new.limits.connections > old.limits.connections { return "limits.connections" }
        if old.limits.connectionsPerAddress == 0, new.limits.connectionsPerAddress > 0 {
            return "limits.connections_per_address"
        }
        if old.supervision != new.supervision { return "supervision" }
        if old.log != new.log { return "log" }
        return nil
    }
}

/// A reload that is under way.
final class Reloading {
    let old: (Configuration, SecretReading)
    let respond: (String?) -> Void
    /// Whose turn it is.
    var shard = 0
    /// What its replacement came to; nil until that is known.
    var outcome: String??

    init(_ old: (Configuration, SecretReading), _ respond: @escaping (String?) -> Void) {
        self.old = old
        self.respond = respond
    }
}
