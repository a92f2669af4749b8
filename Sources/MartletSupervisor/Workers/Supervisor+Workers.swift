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
            if worker.pid > 0 {
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
            workers.contains { $0.pid == pid || $0.keeperPid == pid } || others.contains { $0.pid == pid }
                || others.contains { $0.keeperPid == pid } || keepers[pid] != nil || upgrading?.isCheck(pid) == true
        }
    }

    /// How many clients may wait until one shard has recovered or is taken over: a quarter of the table for all shards.
    var mostHeldClients: Int { max(8, min(1024, descriptorLimit / 4 / max(1, workers.count))) }

    /// Returns how many clients of each worker may be on their way: an eighth of the table for all workers.
    static func window(descriptorLimit: Int, workers: Int) -> Int { max(8, min(1024, descriptorLimit / 8 / workers)) }

    /// Watches everything that comes from a worker.
    func register(_ worker: WorkerProcess) throws(SystemCallError) {
        try loop.register(worker.handle, token: Source.process.token(worker.tag), interest: .readable)
        try loop.register(worker.link, token: Source.link.token(worker.tag), interest: .readable)
        if let post = worker.post {
            try loop.register(post.descriptor, token: Source.post.token(worker.tag), interest: .readable)
        }
        if let keeper = worker.keeper, !worker.isKeeperKnown {
            try loop.register(keeper.channel, token: Source.keeper.token(worker.tag), interest: .readable)
        }
    }

    func processReady(_ worker: WorkerProcess?) {
        guard let worker, let end = worker.reaped() else { return }
        isStoreStale = true
        // What it sent before it ended counts.
        receive(from: worker)
        postReady(worker)
        takeOldPost(of: worker)
        if let post = worker.post { loop.deregister(post.descriptor) }
        let stranded = worker.post?.takeWaiting() ?? []
        loop.deregister(worker.link)
        loop.deregister(worker.handle)
        keeperSpoke(worker)
        if others.contains(where: { $0 === worker }) {
            otherEnded(worker, end)
            return giveBack(stranded)
        }
        let handover = worker.handover
        defer {
            if handover != nil { continueHandover(worker, .donorEnded) }
            continueScaling(.donorEnded(worker.shard))
            finishScaling()
        }
        let connections = worker.reported.connections
        unsafe worker.lifecycle.ended(at: loop.now, jitter: jitter(), isKilled: worker.wasKilled)
        if stopDeadline == nil { worker.ledger[.unplannedRestarts] += 1 }
        worker.forget(end, keepsEstate: stopDeadline == nil)
        // Requests are held while the next worker is about to take over; otherwise those who wait get an answer.
        worker.isRecovering = unsafe worker.estate != nil && worker.lifecycle.restartsSoon(after: loop.now)
        if worker.estate == nil {
            if stopDeadline == nil { worker.lost(connections: connections) }
            board.clear(shard: worker.shard)
            worker.answerHandover("the new worker ended, and what it had taken over is lost: \(end)")
        }
        if worker.isRecovering {
            worker.heldClients += stranded
        } else {
            switchboard.shardFailed(worker.shard)
            giveBack(stranded + worker.takeHeldClients())
        }
        if worker.hasBadConfiguration, !wasReady {
            failure = ConfigurationError(key: "auth.jwks_file", why: "cannot be used: see the line above")
            beginStopping()
        } else if stopDeadline == nil {
            log.error(
                "A worker has ended",
                metadata: metadata(worker, ["why": "\(end)", "connections": "\(connections)"])
            )
            announceStates()
        }
        if stopDeadline != nil { finishWhenAlone() }
    }

    func becameReady(_ worker: WorkerProcess) {
        if worker.isUnconfirmed {
            // It has served since before our start, and has reported all its rooms.
            worker.isUnconfirmed = false
            serves(worker)
            takeOldPost(of: worker)
            for packet in worker.takeHeldClients() { passOn(packet, to: worker) }
            return
        }
        if let donor = worker.donor { return continueHandover(donor, .heirReady) }
        if let heir = scaling?.number(of: worker) { return continueScaling(.heirReady(heir)) }
        if worker.inherits { return tell(worker, .collect) }
        // A shard that begins anew has only the rooms that it reports from now on.
        switchboard.workerServes(worker.shard)
        serves(worker)
        guard worker.isRecovering else { return }
        // Clients that came during the start of the service have waited.
        worker.isRecovering = false
        switchboard.resend(to: worker)
        for packet in worker.takeHeldClients() { passOn(packet, to: worker) }
    }

    func serves(_ worker: WorkerProcess) {
        guard unsafe worker.lifecycle.becameReady(at: loop.now) else { return }
        worker.serves()
        log.info("A worker serves", metadata: metadata(worker, ["pid": "\(worker.pid)"]))
        announceStates()
        guard !wasReady, workers.allSatisfy(\.isServing) else { return }
        wasReady = true
        busyUntil = 0
        log.info(
            "Martlet \(Martlet.version) serves",
            metadata: [
                "workers": "\(workers.count)", "client": "\(listeners.clientAddress)", "api": "\(listeners.apiAddress)",
                "control": "\(configuration.controlSocket)",
            ].merging(listeners.metrics.isEmpty ? [:] : ["metrics": "\(listeners.metricsAddress)"]) { $1 }
        )
        if configuration.isDevelopment { log.info("Demo page: \(listeners.demoPage)") }
        notes.ready()
    }

    /// How long a start may take.
    var startPatience: UInt64 { 2 * configuration.supervision.handoverTimeout.nanoseconds }

    /// Declares the service ready without the shards that could not be started, which are reported and tried again.
    func serveDegraded(_ now: UInt64) {
        guard !wasReady, now >= busyUntil, stopDeadline == nil, workers.contains(where: \.isServing) else { return }
        wasReady = true
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
            worker.stream?.append(header, payload)
        }
    }

    func tell(_ worker: WorkerProcess, _ kind: PeerKind, _ payload: [UInt8] = []) {
        let header = PeerHeader(
            kind: kind,
            source: PeerAddress.supervisor,
            destination: UInt16(worker.shard),
            payloadLength: payload.count
        )
        worker.stream?.append(header, payload)
    }

    func jitter() -> Double { Double(CurrentProcess.random() % 1024) / 1024 }

    func metadata(_ worker: WorkerProcess, _ more: Logger.Metadata) -> Logger.Metadata {
        more.merging(["shard": "\(worker.shard)", "generation": "\(worker.generation)"]) { $1 }
    }
}
