// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletSystemd
internal import MartletWire

/// The process that owns the listening sockets, starts and watches a worker for each shard, and connects them.
actor Supervisor {
    enum Source: UInt8 {
        case signals = 1
        case control, controlPeer, process, link, post, timer, keeper, keeperEnd, check, listener, tick

        func token(_ index: Int = 0) -> UInt64 { UInt64(rawValue) << 56 | UInt64(index) }
    }

    /// The exit code of a process that leaves its workers to the next one (EX_TEMPFAIL of sysexits.h).
    private static let exitCodeOfLeaving: Int32 = 75
    /// How long the control socket pauses when descriptors have run out.
    private static let acceptPause: UInt64 = 100_000_000
    /// A turn that is late by more than this means that the process was halted.
    private static let longestDelay: UInt64 = 500_000_000

    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    var configuration: Configuration {
        didSet {
            switchboard.threadReachesUser = configuration.rooms.threadReachesUser
            switchboard.limits = ConfigurationKey.bounds(of: configuration)
            if configuration.api.timeout != oldValue.api.timeout { listeners.watchBackends(configuration.api.timeout) }
        }
    }
    /// Reads the configuration again.
    let reread: () throws -> (Configuration, SecretReading)
    /// What is under way.
    var undertaking = Undertaking.starting
    private let signals: SignalSource
    /// The file of our own program, looked up when this one started.
    let path: String
    /// The program from which workers are started until an upgrade, because a package may replace the file at any time.
    let workerProgram: ProgramFile
    let log: Logger
    /// The log for lines from workers.
    let workerLog: Logger
    var listeners: Listeners
    /// The addresses of the listeners, in the kernel's form.
    var listenerNames: [[UInt8]] = []
    /// Whether workers hold a socket that was shut down, while another one listens in its place.
    var holdOldListeners = false
    /// Which worker has which shard.
    let roster: Roster
    var nextTag = ShardMap.largestShardCount
    let switchboard: Switchboard
    let control: ControlServer
    var secrets: SecretReading
    var board: Board
    /// Why the start was given up.
    var failure: ConfigurationError?
    private var timerDeadline: UInt64?
    /// When this process runs next at the latest, whatever happens.
    private var nextTick: UInt64?
    var wasReady = false
    var notes = ServiceNotes()
    /// Until when the service manager is told that a start or a stop is making progress.
    var busyUntil: UInt64 = 0
    var isFinished = false
    private var controlPausedUntil: UInt64?
    /// The keepers of all workers, by their process ids.
    var keepers: [Int32: WatchedProcess] = [:]
    let descriptorLimit: Int
    /// The store in which the service manager keeps what the next supervisor needs.
    let store: DescriptorStore?
    /// Whether the contents of the store must be updated.
    var isStoreStale = true
    /// The number of this supervisor among those that have gone on with the same workers.
    let run: UInt64
    /// Keepers whose sockets were taken over; they are dismissed when the next supervisor would know that.
    var dismissals: [KeeperChannel] = []
    /// The configuration for which the shards' memory was made.
    var inForce: StartOnly
    /// Whether workers must still be replaced by workers of the current program and configuration.
    var isRenewalOwed = false
    /// What the previous supervisor has left, until all its workers have answered.
    var remains: Remains?
    /// Whether this process has left its workers to the next one.
    var hasLeft: Bool { if case .left = undertaking { true } else { false } }
    /// What to call when the service has ended.
    var onStopped: [() -> Void] = []

    /// Runs until SIGTERM or SIGINT; returns when every worker has ended.
    ///
    /// `resumption` is what the previous program of this process has left; nil: this is a start. With `isStoring`,
    /// workers outlive this process with the help of the service manager.
    static func run(
        _ configuration: Configuration,
        _ secrets: SecretReading,
        resuming resumption: Resumption?,
        isStoring: Bool,
        reread: sending @escaping () throws -> (Configuration, SecretReading)
    ) throws {
        let supervisor: Supervisor
        do {
            supervisor = try Supervisor(configuration, secrets, resumption, isStoring: isStoring, reread)
        } catch {
            resumption?.fallBack(error)
            throw error
        }
        let loop = supervisor.loop
        try supervisor.assumeIsolated { try $0.begin(resumption) }
        loop.run { events in supervisor.assumeIsolated { $0.turn(events) } }
        if let failure = (supervisor.assumeIsolated { $0.failure }) { throw failure }
        // The code differs from that of a wanted end (0), so that a service manager starts the next process.
        if supervisor.assumeIsolated({ $0.hasLeft }) { CurrentProcess.exit(Self.exitCodeOfLeaving) }
    }

    private init(
        _ configuration: Configuration,
        _ secrets: SecretReading,
        _ resumption: Resumption?,
        isStoring: Bool,
        _ reread: sending @escaping () throws -> (Configuration, SecretReading)
    ) throws {
        self.reread = reread
        let state = resumption?.state
        signals = try SignalSource(Signal.allCases)
        SignalSource.ignoreBrokenPipes()
        SignalSource.ignoreFileSizeLimit()
        if !configuration.isDevelopment { CurrentProcess.hideMemory() }
        descriptorLimit = CurrentProcess.raiseDescriptorLimit()
        let loop = try EventLoop()
        self.loop = loop
        self.configuration = configuration
        let log = Logger(label: "martletd", factory: { _ in SupervisorLog(configuration.log) })
        self.log = log
        workerLog = Logger(
            label: "martlet-worker",
            factory: { _ in SupervisorLog(configuration.log, isOfOthers: true) }
        )
        var inherited = resumption == nil ? try Systemd.inheritedDescriptors() : []
        let remains = Remains(&inherited) { why in
            log.error("The workers of the previous process cannot be taken over", metadata: ["why": "\(why)"])
        }
        self.remains = remains
        let usual = configuration.workers ?? min(CurrentProcess.usableCPUs, ShardMap.largestShardCount)
        let count = state?.workers.count ?? remains?.state.shards.count ?? usual
        var secrets = secrets
        if let remains { secrets.keepMadeUpSecret(remains.state.developmentSecret) }
        self.secrets = secrets
        let path = state?.path ?? CurrentProcess.executablePath
        self.path = path
        try Self.checkLimits(configuration, descriptors: descriptorLimit, workers: count)
        workerProgram = try resumption?.workerProgram ?? ProgramFile(opening: Self.workerPath(beside: path))
        let now = unsafe loop.now
        let beginning = try Self.beginning(
            configuration,
            secrets,
            inherited,
            state: state,
            remains: remains,
            shards: count,
            isStoring: isStoring,
            now: now
        )
        (listeners, board, store, inForce) = (beginning.listeners, beginning.board, beginning.store, beginning.inForce)
        roster = Roster(beginning.workers, beginning.map)
        let switchboard = Switchboard(
            roster: roster,
            holdBytes: configuration.supervision.holdBytes,
            startedAt: beginning.startedAt,
            descriptorLimit: descriptorLimit
        )
        switchboard.limits = ConfigurationKey.bounds(of: configuration)
        switchboard.threadReachesUser = configuration.rooms.threadReachesUser
        // Previous supervisors may have remembered what only shards know now.
        if state != nil || remains != nil { switchboard.isRemindedUntil = now + Switchboard.memory }
        if let state { try switchboard.restore(state.switchboard, now: now) }
        // Shards remember requests of previous supervisors by their numbers, so no number is used twice.
        run = remains.map { $0.state.run + 1 } ?? max(1, switchboard.nextCorrelation >> 40)
        if remains != nil { switchboard.nextCorrelation = run << 40 }
        self.switchboard = switchboard
        control = ControlServer(loop: loop, switchboard: switchboard, bodyBytes: configuration.api.maxBodyBytes) {
            Source.controlPeer.token($0)
        }
    }

    var workers: [WorkerProcess] { roster.workers }
    var others: [WorkerProcess] { roster.others }

    private func begin(_ resumption: Resumption?) throws {
        try loop.register(signals.descriptor.number, token: Source.signals.token(), interest: .readable)
        try watchControl()
        try watchListeners()
        listeners.watchBackends(configuration.api.timeout)
        warnOfFewDescriptors()
        if configuration.isDevelopment {
            log.warning("Development mode: nobody is authenticated, anyone on this machine may connect and publish")
        }
        let unknown = ConfigurationReading.unknownVariables(in: CurrentProcess.environment)
        if !unknown.isEmpty {
            log.warning("Unknown environment variables", metadata: ["names": "\(unknown.joined(separator: " "))"])
        }
        for path in secrets.exposed {
            log.warning("Every user on this machine can read a secret: chmod o-r", metadata: ["file": "\(path)"])
        }
        if !configuration.api.allowedUIDs.isEmpty, !PeerCredentials.areUsersToldApart {
            log.warning(
                "Users cannot be told apart in this sandbox (PrivateUsers=): api.allowed_uids has no effect, use keys"
            )
        }
        busyUntil = unsafe loop.now + startPatience
        if let resumption { try resume(resumption) }
        if let remains { try goOn(with: remains) }
        housekeeping()
        keepStore()
        flush()
    }

    // MARK: A turn

    private func turn(_ events: [EventLoop.Event]) {
        noteHalt()
        for event in events {
            let index = Int(event.token & 0xFFFF_FFFF)
            switch Source(rawValue: UInt8(event.token >> 56)) {
            case .signals: while let arrival = signals.next() { received(arrival) }
            case .control:
                if !control.accept(listeners.control) {
                    // Epoll is level-triggered: without descriptors the socket would be reported forever.
                    loop.deregister(listeners.control)
                    controlPausedUntil = unsafe loop.now + Self.acceptPause
                }
            case .controlPeer: control.ready(index, event)
            case .process: processReady(roster.tagged(index))
            case .link: linkReady(roster.tagged(index), event)
            case .post: postReady(roster.tagged(index), most: 256)
            case .keeper: keeperSpoke(roster.tagged(index))
            case .keeperEnd: keeperEnded(Int32(index))
            case .check: checkEnded()
            case .listener: listenerEnded(index)
            case .timer: timerDeadline = nil
            case .tick: break
            case nil: break
            }
        }
        housekeeping()
        keepStore()
        flush()
    }

    /// Notes when this process was halted, so that this time does not count against its workers.
    private func noteHalt() {
        let now = unsafe loop.now
        if let nextTick, now < nextTick { return }
        let late = now - (nextTick ?? now)
        nextTick = now + configuration.supervision.livenessInterval.nanoseconds
        loop.setTimer(
            deadline: now + configuration.supervision.livenessInterval.nanoseconds,
            token: Source.tick.token()
        )
        reapOrphans()
        guard late > Self.longestDelay else { return }
        for worker in workers + others { worker.lifecycle.judgeWasHalted(for: late) }
    }

    /// Does whatever is due, and sets the timer for the next time.
    private func housekeeping() {
        let now = unsafe loop.now
        switchboard.expire(now: now)
        control.expire(now: now)
        for (order, respond) in control.takeOrders() {
            switch order {
            case .restart(let shard):
                // There may be fewer shards since it was asked.
                guard workers.indices.contains(shard) else {
                    respond(APIAnswer.unknownShard(among: workers.count).response)
                    continue
                }
                restart(workers[shard], answering: respond)
            case .reload: reload { problem in respond(Self.answer(problem, "reloaded")) }
            case .upgrade(let asker): upgrade(asker, respond)
            case .stop: stop { respond(Self.answer(nil, "stopped")) }
            case .scale(let count): scale(to: count) { problem in respond(Self.answer(problem, "scaled")) }
            }
        }
        endMeeting()
        continueRolling()
        continueUpgrade()
        passNewListeners()
        checkHandovers(now)
        for worker in others {
            guard let end = worker.leavesUntil, now >= end else { continue }
            worker.leavesUntil = nil
            log.error("Killing a worker", metadata: metadata(worker, ["why": "it stays though it has lost its shard"]))
            worker.end("it stayed")
        }
        for worker in workers + others {
            switch worker.lifecycle.checked(at: now) {
            case .none: break
            case .start: start(worker)
            case .abort:
                log.event(.workerHangs, metadata: metadata(worker, [:]))
                worker.process?.abort(WorkerLifecycle.KillReason.notAlive.rawValue)
            case .kill(let reason):
                log.error("Killing a worker", metadata: metadata(worker, ["why": "\(reason.rawValue)"]))
                worker.end(reason.rawValue)
            }
        }
        if let resume = controlPausedUntil, now >= resume {
            controlPausedUntil = nil
            if stopDeadline == nil { try? watchControl() }
        }
        if let stopDeadline, now >= stopDeadline {
            for worker in workers + others where worker.lifecycle.hasProcess { worker.end("it did not stop in time") }
            undertaking = .stopping(deadline: now + 1_000_000_000)
        }
        serveDegraded(now)
        continueLeaving(now)
        unsafe notes.tell(service(loop.now), now: loop.now)
        let deadlines =
            (workers + others).compactMap(\.lifecycle.deadline) + workers.compactMap { $0.replacement?.steps.deadline }
            + others.compactMap(\.leavesUntil)
            + [
                switchboard.nextDeadline, scaling?.deadline, upgrading?.deadline, stopDeadline, controlPausedUntil,
                notes.deadline,
            ]
            .compactMap { $0 }
            // These deadlines may pass before what they wait for has happened.
            + [wasReady ? 0 : busyUntil, leaveDeadline ?? 0].filter { $0 > now }
        if let earliest = deadlines.min(), timerDeadline.map({ earliest < $0 }) ?? true {
            timerDeadline = earliest
            loop.setTimer(deadline: earliest, token: Source.timer.token())
        }
    }
}
