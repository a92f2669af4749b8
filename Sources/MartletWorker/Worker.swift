// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletLogging
internal import MartletWire

/// One shard's process: one thread, one loop, and everything that runs on it.
///
/// Each turn of the loop enters the manager's isolation once and handles everything that is ready. At the end of the
/// turn everything that was queued is sent: WebSocket frames, answers, and frames to the supervisor.
final class Worker {
    let loop: EventLoop
    let contract: BirthContract
    let manager: WebSocketManager
    let sockets: SocketTable
    let shard: Shard
    let door: Door
    let link: Link
    let router: Router
    var post: DescriptorChannel
    let tether: Tether
    let board: NodeBoard
    let tally = Tally()
    let log: Logger
    let gatekeeper: Gatekeeper
    var isStopping = false
    /// What is taken over from the previous worker; nil once it is ours, or if there is nothing.
    var inheritance: Inheritance?
    /// What is taken over when the number of shards changes; nil once it is ours, or if there is nothing.
    var gathering: Gathering?
    /// When this worker took over a shard, or got a new supervisor; nil some time after that.
    var tookOverAt: UInt64?
    /// After how long nobody asks again for answers of the previous worker.
    private static let longestRepetition: UInt64 = 60_000_000_000
    /// The phase that this worker is in.
    var phase = Phase.serving
    /// How many clients could not be passed on.
    var passFailures = 0
    private let logSink = LogSink()
    var isPostWritable = false
    var isPostWatched = true
    private var isSweepSet = false
    private var isSessionSweepSet = false
    /// Whether the current turn has taken so long that the next events are put off.
    private var isTurnSpent = false
    private var isLaterSet = false

    /// The phases of a worker: it has the shard, unless the shard is being, or has been, handed over.
    enum Phase {
        case serving
        /// Everything that has arrived is handled; at the end of the turn the worker becomes frozen.
        case freezing
        case frozen
        /// Another worker has the shard; a client that speaks HTTP to us is still answered.
        case retired
    }

    /// Runs the worker until the supervisor tells it to stop.
    static func run() throws {
        // A terminal sends its signals to all processes; only the supervisor acts on them.
        SignalSource.block(Signal.allCases)
        SignalSource.ignoreBrokenPipes()
        let descriptor = BirthContract.Descriptor.contract
        let bytes = try SharedMemory.contents(of: descriptor, limit: BirthContract.largestContract)
        closeDescriptor(descriptor)
        let contract = try BirthContract(bytes)
        if !contract.isDevelopment { CurrentProcess.hideMemory() }
        CurrentProcess.nameTraps("martlet-worker of shard \(contract.shard)")
        #if DEBUG
        Fault.plan(generation: contract.generation)
        #endif
        Fault.at(.born)
        // The arena is mapped for as long as the process lives.
        let mapping = try MemoryMapping(of: BirthContract.Descriptor.arena)
        let header = unsafe try ArenaHeader(unsafe Array(mapping.bytes.prefix(4096)), memorySize: mapping.bytes.count)
        let memory = SharedMapping(mapping)
        let board = unsafe try NodeBoard(
            SharedMapping(MemoryMapping(of: BirthContract.Descriptor.board)).kept.bytes,
            shards: Int(contract.shardCount)
        )
        let discard = { (offset: Int, count: Int) in memory.mapping.discard(offset: offset, count: count) }
        let arena =
            contract.inherits
            ? unsafe try Arena(adopting: memory.mapping.bytes, discard: discard)
            : unsafe try Arena(
                formatting: memory.mapping.bytes,
                layout: header.layout,
                shard: contract.shard,
                generation: contract.generation,
                discard: discard
            )
        let worker = try Worker(contract: contract, arena: arena, board: board)
        worker.serve()
    }

    private init(contract: BirthContract, arena: Arena, board: NodeBoard) throws {
        self.contract = contract
        self.board = board
        gatekeeper = Gatekeeper(contract, board: board)
        let limit = CurrentProcess.raiseDescriptorLimit()
        let budget = DescriptorBudget(limit: limit, http: Int(contract.limits.httpConnections))
        inheritance = contract.inherits ? Inheritance(arena: arena, limit: limit) : nil
        gathering = contract.sources > 0 ? try Gathering(contract, arena: arena, board: board, budget) : nil
        loop = try EventLoop()
        sockets = SocketTable(
            loop: loop,
            arena: arena,
            limits: .init(
                messageBytes: Int(contract.client.maxMessageBytes),
                queueBytes: Int(contract.client.queueBytes),
                partialBytes: Int(contract.limits.partialMessageBytes),
                compressionMinBytes: Int(contract.client.compressionMinBytes),
                resumeWindow: contract.client.resumeWindow,
                resumeMessages: Int(contract.client.resumeMessages),
                resumeBytes: Int(contract.client.resumeBytes),
                waitingSessions: Int(contract.limits.waitingSessions),
                sessionBytes: Int(contract.limits.sessionBytes)
            ),
            tally: tally
        )
        log = Self.log(contract, logSink)
        // The manager and the turn share the sockets; both run only on the loop's thread.
        nonisolated(unsafe) let transport: any Transport = sockets
        manager = unsafe WebSocketManager(
            executor: loop,
            transport: transport,
            limits: contract.managerLimits,
            observer: ManagerLog(log).observer
        )
        link = try Link(
            descriptor: BirthContract.Descriptor.link,
            shard: contract.shard,
            bound: Int(contract.linkBytes),
            loop: loop
        )
        router = Router(
            shard: Int(contract.shard),
            generation: contract.generation,
            map: contract.map,
            link: link,
            bound: Int(contract.linkBytes),
            tally: tally
        )
        shard = Shard(
            contract: contract,
            mostSockets: budget.sockets,
            descriptorLimit: limit,
            sockets: sockets,
            board: board,
            link: link,
            tally: tally
        )
        post = Self.post(owning: BirthContract.Descriptor.post, budget)
        tether = Tether(owning: BirthContract.Descriptor.tether)
        let settings = Door.Settings(contract, budget, descriptorLimit: limit)
        door = Door(loop: loop, settings: settings, tally: tally, log: log)
        try loop.register(post.descriptor, token: EventToken(.post).rawValue, interest: .readable)
        try loop.register(tether.descriptor, token: EventToken(.tether).rawValue, interest: .readable)
    }

    private static func log(_ contract: BirthContract, _ sink: LogSink) -> Logger {
        let level = Logger.Level(priority: contract.logPriority)
        return Logger(label: "martlet-worker", factory: { _ in LinkLogHandler(sink: sink, level: level) })
    }

    static func post(owning descriptor: Int32, _ budget: DescriptorBudget) -> DescriptorChannel {
        DescriptorChannel(owning: descriptor, window: budget.passing, bound: budget.passing)
    }

    private func serve() {
        loop.setTimer(after: contract.timing.livenessInterval, token: EventToken.timer(.beat).rawValue)
        // The whole worker is touched only on the loop's thread, where the manager lives.
        nonisolated(unsafe) let worker = self
        // JWTKit reads keys in its own actor; with this preference the actor runs on the loop's thread too.
        Task(executorPreference: loop) { unsafe await worker.open() }
        loop.run { events in
            manager.assumeIsolated { manager in unsafe worker.turn(events, manager) }
        }
    }

    /// Reads the keys, then opens the door.
    private func open() async {
        do {
            gatekeeper.keys = try await KeyRing(contract.auth)
            for why in gatekeeper.keys.skipped where contract.shard == 0 {
                log.warning("A key in auth.jwks_file is not used", metadata: ["why": "\(why)"])
            }
        } catch {
            log.error("Cannot use auth.jwks_file", metadata: ["why": "\(error)"])
            for line in logSink.take() { link.send(.log, line.bytes) }
            link.flush()
            // Another attempt would not fix this (sysexits.h: EX_CONFIG).
            CurrentProcess.exit(BirthContract.exitCodeOfBadConfiguration)
        }
        if isOwner { door.startAccepting() }
        Fault.at(.ready)
        link.send(.ready)
        link.flush()
    }

    // MARK: A turn

    private func turn(_ events: [EventLoop.Event], _ manager: isolated WebSocketManager) {
        // Events are handled before timers: a client whose pong is in the kernel is not silent.
        isTurnSpent = false
        door.beginTurn()
        for (number, event) in events.enumerated() where !EventToken.isTimer(event.token) {
            // The clock is not read for every event.
            if number & 15 == 15, !isTurnSpent {
                isTurnSpent = unsafe Clock.monotonicNanoseconds() > loop.now + LaterQueue.turn
            }
            handle(event, manager)
        }
        for event in events where EventToken.isTimer(event.token) { handle(event, manager) }
        endTurn(manager)
    }

    private func handle(_ event: EventLoop.Event, _ manager: isolated WebSocketManager) {
        if let token = EventToken(event.token) {
            switch token.kind {
            case .socket:
                if !isStill, sockets.isCurrent(token.index, generation: token.generation) {
                    shard.ready(token.index, event, isLate: isTurnSpent, on: manager)
                }
            case .http:
                if let connection = door.connection(token.index, generation: token.generation) {
                    door.ready(connection, event, isLate: isTurnSpent) { asked($0, $1, manager) }
                }
            case .listener: door.accept(token.index, isLate: isTurnSpent) { asked($0, $1, manager) }
            case .link:
                if event.isWritable { link.flush() }
                if event.isReadable { link.receive { told($0, manager) } }
            case .post: postReady(manager)
            case .tether: tetherReady(manager)
            case .timer: timerFired(token, manager)
            }
        }
    }

    /// True if the shard is ours, because there is nothing to take over, or that has happened.
    var isOwner: Bool { inheritance == nil && gathering == nil }

    /// True while no client is read or written.
    var isStill: Bool { phase == .frozen || phase == .retired }

    private func endTurn(_ manager: isolated WebSocketManager) {
        if !isStill {
            shard.serveLater(on: manager)
            sockets.flushDirty()
        }
        door.serveLater { asked($0, $1, manager) }
        door.flushDirty { asked($0, $1, manager) }
        // Answers may have let waiting requests go on, which may have queued more.
        if !isStill {
            sockets.flushDirty()
            shard.pingsLeft()
            shard.release(on: manager)
        }
        shard.announceRooms(on: manager)
        setSweep()
        setLater()
        if phase == .freezing { freeze(manager) }
        for line in logSink.take() { link.send(.log, line.bytes) }
        link.flush()
        post.flush()
        watchPost()
        if sockets.shrinkWhenEmpty() {
            door.shrinkWhenEmpty()
            CurrentProcess.trimHeap()
        }
        // Clients that wait to be passed on are not peers of the door any more, and would be closed without an answer.
        let hasLeft = phase == .retired && !Fault.keepsRetired && post.queued == 0
        if isStopping || hasLeft, sockets.count == 0, door.count == 0 { loop.stop() }
    }

    private func setSweep() {
        if !isSessionSweepSet, !isStill, let earliest = sockets.waits.earliest {
            isSessionSweepSet = true
            loop.setTimer(deadline: earliest, token: EventToken.timer(.sessionSweep).rawValue)
        }
        guard !isSweepSet, !isStill, let earliest = sockets.closing.earliest else { return }
        isSweepSet = true
        loop.setTimer(deadline: earliest, token: EventToken.timer(.socketSweep).rawValue)
    }

    /// Begins the next turn at once, for connections that were put off.
    private func setLater() {
        guard !isLaterSet, (!isStill && !sockets.later.isEmpty) || door.hasLater else { return }
        isLaterSet = true
        unsafe loop.setTimer(deadline: loop.now, token: EventToken.timer(.later).rawValue)
    }

    private func timerFired(_ token: EventToken, _ manager: isolated WebSocketManager) {
        switch EventToken.Timer(rawValue: UInt32(token.index)) {
        case .beat:
            beat(manager)
        case .socketSweep:
            isSweepSet = false
            if isStill { return }
            _ = unsafe sockets.sweep(now: loop.now)
        case .sessionSweep:
            isSessionSweepSet = false
            if isStill { return }
            _ = unsafe sockets.sweepWaiting(now: loop.now)
        case .doorSweep: door.sweep()
        case .health: if !isStill { shard.checkHealth(on: manager) }
        case .drained: beginStopping(manager)
        case .acceptAgain: if !isStopping, phase == .serving { door.startAccepting() }
        case .later: isLaterSet = false
        case .stopDeadline, nil: loop.stop()
        }
    }

    private func watchPost() {
        guard isPostWatched else { return }
        if post.isClosed {
            loop.deregister(post.descriptor)
            isPostWatched = false
            return
        }
        guard post.wantsToWrite != isPostWritable else { return }
        isPostWritable = post.wantsToWrite
        let interest: EventLoop.Interest = isPostWritable ? [.readable, .writable] : .readable
        try? loop.modify(post.descriptor, token: EventToken(.post).rawValue, interest: interest)
    }

    private func beat(_ manager: isolated WebSocketManager) {
        if isOwner { link.send(.alive, CommandCoding.encode(.shard(statistics(byUser: false, manager)))) }
        loop.setTimer(after: contract.timing.livenessInterval, token: EventToken.timer(.beat).rawValue)
        for asker in unsafe router.expire(now: loop.now) { answer(asker, .failed(.shardUnavailable(partial: nil))) }
        unsafe shard.releaseHeld(before: loop.now)
        if let tookOverAt, unsafe loop.now > tookOverAt + Self.longestRepetition {
            shard.record.forgetInherited()
            self.tookOverAt = nil
        }
    }

    /// Returns what the worker knows about itself; the supervisor completes it.
    func statistics(byUser: Bool, _ manager: isolated WebSocketManager) -> ShardStatistics {
        tally.counters[.logLinesLost] += logSink.takeLost()
        var statistics = shard.statistics(byUser: byUser, of: manager)
        statistics.httpConnections = door.count
        return statistics
    }
}

extension BirthContract {
    /// The limits of this shard's manager.
    fileprivate var managerLimits: WebSocketManager.Limits {
        var limits = WebSocketManager.Limits()
        limits.connectionsPerUser = Int(self.limits.connectionsPerUser)
        limits.overUserLimit = self.limits.replacesOldest ? .replaceOldest : .reject
        limits.recordsRoomChanges = true
        return limits
    }
}
