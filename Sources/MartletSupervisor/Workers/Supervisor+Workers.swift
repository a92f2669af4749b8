// SPDX-License-Identifier: Apache-2.0

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
        let arena = ArenaLayout(configuration.limits).byteCount
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

    /// How long a start may take.
    var startPatience: UInt64 { 2 * configuration.supervision.handoverTimeout.nanoseconds }

    /// Declares the service ready without the shards that could not be started, which are reported and tried again.
    func serveDegraded(_ now: UInt64) {
        guard !wasReady, now >= busyUntil, stopDeadline == nil, workers.contains(where: \.isServing) else { return }
        startIsOver()
        let missing = workers.filter { !$0.isServing }.map { "\($0.shard)" }.joined(separator: " ")
        log.error("Serving without some shards", metadata: ["shards": "\(missing)"])
        notes.ready()
    }

    func jitter() -> Double { Double(CurrentProcess.random() % 1024) / 1024 }

    func metadata(_ worker: WorkerProcess, _ more: Logger.Metadata) -> Logger.Metadata {
        more.merging(["shard": "\(worker.shard)", "generation": "\(worker.generation)"]) { $1 }
    }
}
