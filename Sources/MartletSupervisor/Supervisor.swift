internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletSystemd
internal import MartletWire

/// The process that owns the listening sockets, starts and watches a worker for each shard, and connects them.
actor Supervisor {
    enum Source: UInt8 {
        case signals = 1
        case control, controlPeer, process, link, post, timer, keeper, keeperEnd, check

        func token(_ index: Int = 0) -> UInt64 { UInt64(rawValue) << 56 | UInt64(index) }
    }

    /// How long the control socket rests when descriptors have run out.
    private static let acceptPause: UInt64 = 100_000_000

    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    var configuration: Configuration
    /// Reads the configuration again.
    let reread: () throws -> (Configuration, SecretReading)
    var rolling: Rolling?
    var upgrading: Upgrade?
    private let signals: SignalSource
    /// The file of our own program, looked up when this one started.
    let path: String
    /// What workers are started from, until an upgrade: a package may replace the file at any time.
    let workerProgram: ProgramFile
    let log: Logger
    var listeners: Listeners
    /// Of each shard, the worker that has it.
    var workers: [WorkerProcess]
    /// Workers that are about to have a shard, and those that had one and still answer.
    var others: [WorkerProcess] = []
    var nextTag = ShardMap.largestShardCount
    let switchboard: Switchboard
    let control: ControlServer
    var secrets: SecretReading
    var board: Board
    var scaling: Scaling?
    /// Why the start was given up.
    private var failure: ConfigurationError?
    private var timerDeadline: UInt64?
    var wasReady = false
    var stopDeadline: UInt64?
    var isFinished = false
    private var controlPausedUntil: UInt64?
    /// The keepers of all workers, by their process ids.
    var keepers: [Int32: WatchedProcess] = [:]
    private let descriptorLimit: Int

    /// Lives until SIGTERM or SIGINT; returns when every worker has ended.
    ///
    /// `resumption`: what the program left that this process was before; nil: a start.
    static func run(
        _ configuration: Configuration,
        _ secrets: SecretReading,
        resuming resumption: Resumption?,
        reread: sending @escaping () throws -> (Configuration, SecretReading)
    ) throws {
        let supervisor: Supervisor
        do {
            supervisor = try Supervisor(configuration, secrets, resumption, reread)
        } catch {
            resumption?.fallBack(error)
            throw error
        }
        let loop = supervisor.loop
        try supervisor.assumeIsolated { try $0.begin(resumption) }
        loop.run { events in supervisor.assumeIsolated { $0.turn(events) } }
        if let failure = (supervisor.assumeIsolated { $0.failure }) { throw failure }
    }

    private init(
        _ configuration: Configuration,
        _ secrets: SecretReading,
        _ resumption: Resumption?,
        _ reread: sending @escaping () throws -> (Configuration, SecretReading)
    ) throws {
        self.reread = reread
        let state = resumption?.state
        signals = try SignalSource([.hangup, .interrupt, .terminate])
        SignalSource.ignoreBrokenPipes()
        descriptorLimit = CurrentProcess.raiseDescriptorLimit()
        let loop = try EventLoop()
        self.loop = loop
        self.configuration = configuration
        let usual = configuration.workers ?? min(CurrentProcess.usableCPUs, ShardMap.largestShardCount)
        let count = state?.workers.count ?? usual
        let map = ShardMap(shardCount: count, generation: state?.mapGeneration ?? 1)
        log = Logger(label: "martletd", factory: { _ in SupervisorLog(configuration.log) })
        self.secrets = secrets
        let path = state?.path ?? CurrentProcess.executablePath
        self.path = path
        workerProgram = try resumption?.workerProgram ?? ProgramFile(opening: Self.workerPath(beside: path))
        let policy = WorkerLifecycle.Policy(configuration.supervision)
        let workers: [WorkerProcess]
        if let state {
            // What fails here leaves everything to the program of before.
            workers = try unsafe WorkerProcess.resumed(state, policy: policy, now: loop.now)
            listeners = Listeners(state)
            board = try Board(state)
        } else {
            workers = (0..<count).map { WorkerProcess(shard: $0, tag: $0, policy: policy) }
            listeners = try Listeners(configuration)
            try secrets.checkBackends(isNetwork: listeners.isAPIOnNetwork)
            board = try Board(shards: count, limits: configuration.limits)
        }
        self.workers = workers
        let switchboard = unsafe Switchboard(
            workers: workers,
            map: map,
            holdBytes: configuration.supervision.holdBytes,
            startedAt: state?.startedAt ?? loop.now
        )
        if let state { try unsafe switchboard.restore(state.switchboard, now: loop.now) }
        self.switchboard = switchboard
        control = ControlServer(loop: loop, switchboard: switchboard, bodyBytes: configuration.api.maxBodyBytes) {
            Source.controlPeer.token($0)
        }
    }

    private func begin(_ resumption: Resumption?) throws {
        try loop.register(signals.descriptor.number, token: Source.signals.token(), interest: .readable)
        try loop.register(listeners.control, token: Source.control.token(), interest: .readable)
        if configuration.isDevelopment {
            log.warning("Development mode: nobody is checked, anyone on this machine may connect and publish")
        }
        for path in secrets.exposed {
            log.warning("Every user of this machine can read a secret: chmod o-r", metadata: ["file": "\(path)"])
        }
        if let resumption { try resume(resumption) }
        housekeeping()
        flush()
    }

    // MARK: A turn

    private func turn(_ events: [EventLoop.Event]) {
        for event in events {
            let index = Int(event.token & 0xFFFF_FFFF)
            switch Source(rawValue: UInt8(event.token >> 56)) {
            case .signals: while let signal = signals.next() { received(signal) }
            case .control:
                if !control.accept(listeners.control) {
                    // Level-triggered: without descriptors it would be reported for ever.
                    loop.deregister(listeners.control)
                    controlPausedUntil = unsafe loop.now + Self.acceptPause
                }
            case .controlPeer: control.ready(index, event)
            case .process: processReady(tagged(index))
            case .link: linkReady(tagged(index), event)
            case .post: postReady(tagged(index))
            case .keeper: keeperSpoke(tagged(index))
            case .keeperEnd: keeperEnded(Int32(index))
            case .check: checkEnded()
            case .timer: timerDeadline = nil
            case nil: break
            }
        }
        housekeeping()
        flush()
    }

    /// Does what time asks for, and sets the timer for the next thing.
    private func housekeeping() {
        let now = unsafe loop.now
        switchboard.expire(now: now)
        for (order, respond) in control.takeOrders() {
            switch order {
            case .restart(let shard): restart(workers[shard], answering: respond)
            case .reload: reload { problem in respond(Self.answer(problem, "reloaded")) }
            case .upgrade(let asker): upgrade(asker, respond)
            case .scale(let count): scale(to: count) { problem in respond(Self.answer(problem, "scaled")) }
            }
        }
        continueRolling()
        continueUpgrade()
        checkHandovers(now)
        for worker in workers + others {
            switch worker.lifecycle.checked(at: now) {
            case .none: break
            case .start: start(worker)
            case .abort:
                log.error("Aborting a worker that stopped answering", metadata: metadata(worker, [:]))
                worker.abort(WorkerLifecycle.KillReason.notAlive.rawValue)
            case .kill(let reason):
                log.error("Killing a worker", metadata: metadata(worker, ["why": "\(reason.rawValue)"]))
                worker.end(reason.rawValue)
            }
        }
        if let resume = controlPausedUntil, now >= resume {
            controlPausedUntil = nil
            if stopDeadline == nil {
                try? loop.register(listeners.control, token: Source.control.token(), interest: .readable)
            }
        }
        if let stopDeadline, now >= stopDeadline {
            for worker in workers + others where worker.lifecycle.hasProcess { worker.end("it did not stop in time") }
            self.stopDeadline = now + 1_000_000_000
        }
        let deadlines =
            (workers + others).compactMap(\.lifecycle.deadline) + workers.compactMap { $0.handover?.deadline }
            + [switchboard.nextDeadline, scaling?.deadline, upgrading?.deadline, stopDeadline, controlPausedUntil]
            .compactMap { $0 }
        if let earliest = deadlines.min(), timerDeadline.map({ earliest < $0 }) ?? true {
            timerDeadline = earliest
            loop.setTimer(deadline: earliest, token: Source.timer.token())
        }
    }

    /// Writes what this turn queued for the workers.
    func flush() {
        for worker in workers + others {
            flushLink(worker)
            guard let post = worker.post else { continue }
            post.flush()
            if post.wantsToWrite != worker.postWatchesWritable {
                worker.postWatchesWritable = post.wantsToWrite
                let interest: EventLoop.Interest = post.wantsToWrite ? [.readable, .writable] : .readable
                try? loop.modify(post.descriptor, token: Source.post.token(worker.tag), interest: interest)
            }
        }
    }

    private func flushLink(_ worker: WorkerProcess) {
        guard worker.link >= 0 else { return }
        var isBlocked = false
        while let stream = worker.stream, stream.queuedBytes > 0, !isBlocked {
            switch StreamSocket.send(worker.link, stream.output.span.extracting(stream.outputStart...)) {
            case .moved(let count): worker.stream?.didSend(count)
            case .wouldBlock: isBlocked = true
            case .ended, .failed: return  // its end is learned from the process
            }
        }
        guard isBlocked != worker.linkWatchesWritable else { return }
        worker.linkWatchesWritable = isBlocked
        let interest: EventLoop.Interest = isBlocked ? [.readable, .writable] : .readable
        try? loop.modify(worker.link, token: Source.link.token(worker.tag), interest: interest)
    }

    // MARK: Workers

    func start(_ worker: WorkerProcess) {
        do throws(SystemCallError) {
            unsafe try worker.start(
                program: workerProgram,
                listeners: listeners,
                map: scaling?.map(of: worker) ?? switchboard.map,
                configuration: configuration,
                secrets: secrets.secrets,
                board: scaling?.board(of: worker) ?? board,
                // An eighth of the table for each worker's clients under way, and no more than that in all.
                window: max(8, min(1024, descriptorLimit / 8 / workers.count)),
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

    /// Hears of everything that comes from a worker.
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

    private func processReady(_ worker: WorkerProcess?) {
        guard let worker, let end = worker.reaped() else { return }
        // What it said before it ended counts.
        receive(from: worker)
        postReady(worker)
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
        unsafe worker.lifecycle.ended(at: loop.now, jitter: jitter())
        worker.forget(end, keepsEstate: stopDeadline == nil)
        // Requests are held while the next worker is about to take over; else whoever waits is told.
        worker.isRecovering = unsafe worker.estate != nil && worker.lifecycle.restartsSoon(after: loop.now)
        if worker.estate == nil {
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
        if let donor = worker.donor { return continueHandover(donor, .heirReady) }
        if let heir = scaling?.number(of: worker) { return continueScaling(.heirReady(heir)) }
        if worker.inherits { return tell(worker, .takeOver) }
        // A shard that begins anew has no rooms but those that it tells of from now on.
        switchboard.workerServes(worker.shard)
        serves(worker)
    }

    func serves(_ worker: WorkerProcess) {
        guard unsafe worker.lifecycle.becameReady(at: loop.now) else { return }
        log.info("A worker serves", metadata: metadata(worker, ["pid": "\(worker.pid)"]))
        announceStates()
        guard !wasReady, workers.allSatisfy(\.isServing) else { return }
        wasReady = true
        log.info(
            "Martlet \(Martlet.version) serves",
            metadata: [
                "workers": "\(workers.count)", "client": "\(listeners.clientAddress)", "api": "\(listeners.apiAddress)",
                "control": "\(configuration.controlSocket)",
            ]
        )
        if configuration.isDevelopment { log.info("Demo page: http://\(listeners.clientAddress)/") }
        Systemd.notify("READY=1\nSTATUS=\(workers.count) shards serve")
    }

    /// Tells every worker how every shard is.
    func announceStates() {
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
