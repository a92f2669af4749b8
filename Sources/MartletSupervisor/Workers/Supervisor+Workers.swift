internal import Logging
internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// The lives of workers: how one is started, what it reports first, and what is done when it has ended.

extension Supervisor {
    func start(_ worker: WorkerProcess) {
        isStoreStale = true
        do throws(SystemCallError) {
            unsafe try worker.start(
                program: workerProgram,
                listeners: listeners,
                map: scaling?.map(of: worker) ?? switchboard.map,
                configuration: configuration,
                secrets: secrets.secrets,
                board: scaling?.board(of: worker) ?? board,
                window: Self.window(descriptorLimit: descriptorLimit, workers: workers.count),
                now: loop.now
            )
            try register(worker)
        } catch {
            log.error("Cannot start a worker", metadata: metadata(worker, ["error": "\(error)"]))
            if worker.process != nil {
                worker.end("\(error)")
            } else {
                unsafe worker.lifecycle.ended(at: loop.now, jitter: jitter())
            }
        }
    }

    /// Warns if fewer connections fit than were configured.
    func warnOfFewDescriptors() {
        let budget = DescriptorBudget(limit: descriptorLimit, http: configuration.limits.httpConnections)
        let room = budget.sockets * workers.count
        guard room < configuration.limits.connections else { return }
        log.warning(
            "The limit on open files is too low for limits.connections: raise it (ulimit -n, LimitNOFILE=)",
            metadata: [
                "connections": "\(configuration.limits.connections)", "room": "\(room)",
                "open_files": "\(descriptorLimit)",
            ]
        )
    }

    /// Throws if the service cannot run within the limits of this process (getrlimit(2)).
    static func checkLimits(
        _ configuration: Configuration,
        descriptors: Int,
        workers: Int
    ) throws(SystemCallError) {
        let needed = max(leastDescriptors, 32 + 16 * workers)
        guard descriptors >= needed else {
            throw .tooFewDescriptors(
                "only \(descriptors) files may be open at a time, and \(workers) workers need \(needed) "
                    + "(ulimit -n, LimitNOFILE=)"
            )
        }
        let arena = ArenaLayout(connections: configuration.limits.connections).byteCount
        let largest = CurrentProcess.raiseFileSizeLimit()
        guard largest >= arena else {
            throw .tooSmallFiles(
                "a file may have at most \(largest) bytes, and the memory of a worker is a file of \(arena) bytes "
                    + "(ulimit -f, LimitFSIZE=)"
            )
        }
    }

    /// The fewest descriptors with which a worker can run.
    private static let leastDescriptors = 128

    /// Collects ended processes that belong to nobody, if this is the first process of a container.
    func reapOrphans() {
        Orphans.reap { pid in
            (workers + others).contains { $0.pid == pid || $0.process?.keeperPid == pid } || keepers[pid] != nil
                || upgrading?.isCheck(pid) == true
        }
    }

    /// How many clients may wait until one shard has recovered or is taken over: a quarter of the table for all shards.
    var mostHeldClients: Int { DescriptorBudget.window(descriptorLimit / 4 / max(1, workers.count)) }

    /// Returns how many clients of each worker may be on their way: an eighth of the table for all workers.
    static func window(descriptorLimit: Int, workers: Int) -> Int {
        DescriptorBudget.window(descriptorLimit / 8 / workers)
    }

    /// Watches everything that comes from a worker.
    func register(_ worker: WorkerProcess) throws(SystemCallError) {
        guard let process = worker.process else { return }
        try loop.register(process.process.handle, token: Source.process.token(worker.tag), interest: .readable)
        try loop.register(process.link, token: Source.link.token(worker.tag), interest: .readable)
        try loop.register(process.post.descriptor, token: Source.post.token(worker.tag), interest: .readable)
        if let keeper = process.keeper, !process.isKeeperKnown {
            try loop.register(keeper.channel, token: Source.keeper.token(worker.tag), interest: .readable)
        }
    }

    func processReady(_ worker: WorkerProcess?) {
        guard let worker, let process = worker.process, let end = process.reaped() else { return }
        isStoreStale = true
        // What it said before it ended counts.
        receive(from: worker)
        postReady(worker)
        takeOldPost(of: worker)
        loop.deregister(process.post.descriptor)
        let stranded = process.post.takeWaiting()
        loop.deregister(process.link)
        loop.deregister(process.process.handle)
        keeperSpoke(worker)
        if others.contains(where: { $0 === worker }) {
            otherEnded(worker, end)
            return giveBack(stranded)
        }
        ownerEnded(worker, end, stranded)
        if worker.replacement != nil { continueHandover(worker, .donorEnded) }
        continueScaling(.donorEnded(worker.shard))
        finishScaling()
        if stopDeadline != nil { finishWhenAlone() }
    }

    /// The worker that has a shard has ended: the next one takes over what it leaves, or nobody does.
    private func ownerEnded(_ worker: WorkerProcess, _ end: WorkerEnd, _ stranded: [DescriptorChannel.Packet]) {
        let isStopping = stopDeadline != nil
        let connections = worker.reported.connections
        unsafe worker.lifecycle.ended(at: loop.now, jitter: jitter(), isKilled: end.isKilledByOthers)
        if !isStopping { worker.ledger[.unplannedRestarts] += 1 }
        // The pause begins where the last one that served has ended.
        if worker.custody.hasServed { worker.pauseBegan() }
        let leaves = !isStopping && worker.process?.keeper != nil && worker.process?.isWithoutKeeper == false
        let actions = worker.custody.heard(
            .ended(leaves: leaves, restartsSoon: unsafe worker.lifecycle.restartsSoon(after: loop.now))
        )
        worker.heldClients += stranded
        let keeper = worker.process?.keeper
        worker.forget(end)
        if actions.contains(.keep) { worker.estate = keeper }
        if actions.contains(.lose) {
            worker.estate = nil
            if !isStopping { worker.lost(connections: connections) }
            board.clear(shard: worker.shard)
            worker.answerServing("the new worker ended, and what it had taken over is lost: \(end)")
        }
        act(actions, on: worker)
        if end.isBadConfiguration, !wasReady {
            failure = ConfigurationError(key: "auth.jwks_file", why: "cannot be used: see the line above")
            beginStopping()
        } else if !isStopping {
            log.event(
                .workerEnded,
                metadata: metadata(worker, ["why": "\(end)", "connections": "\(connections)"])
            )
            announceStates()
        }
    }

    func becameReady(_ worker: WorkerProcess) {
        if let donor = worker.donor { return continueHandover(donor, .heirReady) }
        if let heir = scaling?.number(of: worker) { return continueScaling(.heirReady(heir)) }
        act(worker.custody.heard(.ready), on: worker)
    }

    func serves(_ worker: WorkerProcess) {
        guard unsafe worker.lifecycle.becameReady(at: loop.now) else { return }
        log.info("A worker serves", metadata: metadata(worker, ["pid": "\(worker.pid)"]))
        announceStates()
        guard !wasReady, workers.allSatisfy(\.isServing) else { return }
        becameReady()
        busyUntil = 0
        log.event(
            .serves,
            metadata: [
                "workers": "\(workers.count)", "client": "\(listeners.clientAddress)", "api": "\(listeners.apiAddress)",
                "control": "\(configuration.controlSocket)",
            ].merging(listeners.metrics.isEmpty ? [:] : ["metrics": "\(listeners.metricsAddress)"]) { $1 }
        )
        if configuration.isDevelopment { log.info("Demo page: \(listeners.demoPage)") }
        notes.ready()
    }

    /// The start is over: the service manager is told, once.
    private func becameReady() {
        wasReady = true
        if case .starting = undertaking.present { undertaking.end() }
    }

    /// How long a start may take.
    var startPatience: UInt64 { 2 * configuration.supervision.handoverTimeout.nanoseconds }

    /// Declares the service ready without the shards that could not be started, which are reported and tried again.
    func serveDegraded(_ now: UInt64) {
        guard !wasReady, now >= busyUntil, stopDeadline == nil, workers.contains(where: \.isServing) else { return }
        becameReady()
        let missing = workers.filter { !$0.isServing }.map { "\($0.shard)" }.joined(separator: " ")
        log.error("Serving without some shards", metadata: ["shards": "\(missing)"])
        notes.ready()
    }

    /// Tells every worker the state of every shard.
    func announceStates() {
        notes.changed()
        let payload = ShardStates(workers.map(\.state)).bytes
        for worker in workers + others where worker.isServing {
            let header = PeerHeader(
                kind: .shardStates,
                source: PeerAddress.supervisor,
                destination: UInt16(worker.shard),
                payloadLength: payload.count
            )
            worker.process?.stream.append(header, payload)
        }
    }

    func tell(_ worker: WorkerProcess, _ kind: PeerKind, _ payload: [UInt8] = []) {
        let header = PeerHeader(
            kind: kind,
            source: PeerAddress.supervisor,
            destination: UInt16(worker.shard),
            payloadLength: payload.count
        )
        worker.process?.stream.append(header, payload)
    }

    func jitter() -> Double { Double(CurrentProcess.random() % 1024) / 1024 }

    func metadata(_ worker: WorkerProcess, _ more: Logger.Metadata) -> Logger.Metadata {
        more.merging(["shard": "\(worker.shard)", "generation": "\(worker.generation)"]) { $1 }
    }
}
