// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletSystemd
internal import MartletWire

// How a worker is started: with a contract, its descriptors, and what the previous worker has left.

extension WorkerProcess {
    /// Starts the next worker, with what the previous one has left, or with a new arena.
    ///
    /// `program` is the worker's program; `listeners` are the listening sockets for clients and backends.
    func start(
        program: ProgramFile,
        listeners: Listeners,
        map: ShardMap,
        configuration: Configuration,
        secrets: BirthContract.Secrets,
        board: Board,
        window: Int,
        now: UInt64
    ) throws(SystemCallError) {
        generation += 1
        let contract = contract(listeners, map, configuration, secrets, addressKey: board.addressKey)
        if estate == nil { try makeArena(configuration) }
        let contractMemory = try SharedMemory.sealed(name: "martlet-birth-\(shard)", bytes: contract.bytes)
        let channels = try WorkerChannels(window: window)
        let (ourKeeper, theirKeeper) = try SocketPair(.packets).split()
        let keeper = KeeperChannel(owning: ourKeeper)
        let theirKeeperEnd = OwnedDescriptor(owning: theirKeeper)
        let (ourTether, theirTether) = try SocketPair(.packets).split()
        let tether = Tether(owning: ourTether)
        let theirTetherEnd = OwnedDescriptor(owning: theirTether)
        // In the journal, what it prints when it traps can be found by its shard.
        let isJournal = SupervisorLog.isJournal(configuration.log)
        let errors = OwnedDescriptor(owning: isJournal ? Systemd.journalStream(as: "martlet-shard-\(shard)") : -1)
        let child = try ChildProcess(
            program: program,
            arguments: [BirthContract.argument],
            environment: CurrentProcess.environment.filter {
                entry in Self.passedVariables.contains { entry.hasPrefix($0) }
            },
            descriptors: [
                channels.theirLink.number, channels.theirPost.number, arena, contractMemory.number, board.memory.number,
                theirKeeperEnd.number, theirTetherEnd.number,
            ]
                + (estate.map { [$0.channel] } ?? []) + sourceDescriptors + listeners.all,
            errors: errors.number < 0 ? nil : errors.number
        )
        process = RunningWorker(
            pid: child.pid,
            process: child,
            link: channels.link,
            post: channels.post,
            keeper: keeper,
            tether: tether,
            isOfThisProgram: true
        )
        process?.stopTimeout = configuration.supervision.handoverTimeout.nanoseconds
        lifecycle.started(at: now)
        _ = custody.heard(.started)
    }

    private func contract(
        _ listeners: Listeners,
        _ map: ShardMap,
        _ configuration: Configuration,
        _ secrets: BirthContract.Secrets,
        addressKey: UInt64
    ) -> BirthContract {
        BirthContract(
            shard: shard,
            generation: generation,
            map: map,
            clientListeners: listeners.client.count,
            apiListeners: listeners.api.count,
            metricsListeners: listeners.metrics.count,
            inherits: estate != nil,
            sources: donors?.workers.count ?? 0,
            isUnstable: lifecycle.isUnstable,
            configuration: configuration,
            secrets: secrets,
            addressKey: addressKey
        )
    }

    /// The environment variables that a worker gets, none of which is configuration.
    private static let passedVariables: [String] = {
        #if DEBUG
        ["SWIFT_BACKTRACE=", "TSAN_", "ASAN_", "MARTLET_FAULTS="]
        #else
        ["SWIFT_BACKTRACE=", "TSAN_"]
        #endif
    }()

    private var sourceDescriptors: [Int32] {
        guard let donors else { return [] }
        return [donors.board.memory.number]
            + donors.workers.flatMap { [$0.arena, $0.process?.keeper?.channel ?? -1] }
    }

    private func makeArena(_ configuration: Configuration) throws(SystemCallError) {
        let layout = ArenaLayout(configuration.limits)
        let memory = try SharedMemory.fixed(name: "martlet-arena-\(shard)", byteCount: layout.byteCount)
        try Self.write(
            ArenaHeader(layout: layout, shard: UInt16(shard), generation: generation).bytes,
            to: memory.number
        )
        if arena >= 0 { closeDescriptor(arena) }
        arena = memory.release()
    }

    /// True unless the shard's memory was laid out by a version with another layout.
    var hasCurrentLayout: Bool {
        guard arena >= 0, let mapping = try? MemoryMapping(of: arena) else { return true }
        return ArenaHeader.isCurrent(unsafe Array(mapping.bytes.prefix(16)))
    }

    /// False for a worker of a version before sessions, which came with the present layout.
    var knowsSessions: Bool { process?.isOfThisProgram == true || hasCurrentLayout }

    private static func write(_ header: [UInt8], to arena: Int32) throws(SystemCallError) {
        let mapping = try MemoryMapping(of: arena)
        unsafe mapping.bytes.copyBytes(from: header)
    }
}
