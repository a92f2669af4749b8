// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux

extension Switchboard {
    /// What this process reports about itself, in addition to the shards.
    var supervisorStatistics: SupervisorStatistics {
        SupervisorStatistics(
            cpuNanoseconds: Clock.processNanoseconds(),
            residentBytes: CurrentProcess.residentBytes(),
            openDescriptors: descriptors.current(known: CurrentProcess.openDescriptors),
            descriptorLimit: descriptors.limit,
            startedAt: Clock.unixMilliseconds()
                - Int64((Clock.monotonicNanoseconds() - startedAt) / 1_000_000),
            limits: limits
        )
    }
}
