// SPDX-License-Identifier: Apache-2.0

internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletSystemd

// Where a supervisor gets its sockets, its memory and its workers from.

extension Supervisor {
    /// Takes over what a previous supervisor has left, or begins anew.
    static func beginning(
        _ configuration: Configuration,
        _ secrets: SecretReading,
        _ inherited: [Systemd.InheritedDescriptor],
        state: SupervisorState?,
        remains: Remains?,
        shards: Int,
        isStoring: Bool,
        now: UInt64
    ) throws -> Beginning {
        let policy = WorkerLifecycle.Policy(configuration.supervision)
        if let state { return try Beginning(state, policy: policy, now: now) }
        let listeners = try listeners(configuration, secrets, inherited, isStoring: isStoring)
        guard let remains else {
            return try Beginning(configuration, shards: shards, listeners: listeners, isStoring: isStoring, now: now)
        }
        let window = window(descriptorLimit: CurrentProcess.raiseDescriptorLimit(), workers: shards)
        return try Beginning(remains, listeners: listeners, policy: policy, window: window, now: now)
    }

    /// Opens, or inherits, the listening sockets; throws if they cannot be used.
    static func listeners(
        _ configuration: Configuration,
        _ secrets: SecretReading,
        _ inherited: [Systemd.InheritedDescriptor],
        isStoring: Bool
    ) throws -> Listeners {
        try Listeners(configuration, inherited) { listeners in
            if isStoring, let key = listeners.opened.first {
                let why = "with --keep-workers every socket must come from the service manager: this one did not"
                throw ConfigurationError(key: key, why: why)
            }
            try secrets.checkBackends(isNetwork: listeners.isAPIOnNetwork)
        }
    }
}
