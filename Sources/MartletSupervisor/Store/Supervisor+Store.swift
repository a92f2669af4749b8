// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletSystemd
internal import MartletWire

// Workers outlive their supervisor: the service manager always keeps what the next one needs.

extension Supervisor {
    /// Updates the store before the frames of a turn are sent, so that the next supervisor would know what they say.
    func keepStore() {
        defer {
            for keeper in dismissals { keeper.dismiss() }
            dismissals = []
        }
        guard isStoreStale, let store, stopDeadline == nil else { return }
        isStoreStale = false
        var descriptors = [StoredKind.board.name(descriptorIdentity(board.memory.number)): board.memory.number]
        for worker in workers + others {
            for (name, descriptor) in worker.storedDescriptors { descriptors[name] = descriptor }
        }
        if let scaling = scaling?.uncommittedBoard {
            descriptors[StoredKind.board.name(descriptorIdentity(scaling))] = scaling
        }
        store.keep(descriptors, storeState)
    }

    private var storeState: StoreState {
        var state = StoreState(
            run: run,
            startOnly: inForce,
            mapGeneration: switchboard.map.generation,
            board: board,
            developmentSecret: secrets.isSecretMadeUp ? secrets.secrets.hmac : [],
            workerProgram: workerProgram.identity,
            configuration: contractDigest
        )
        state.arenaVersion = arenaVersion
        state.isPlanned = hasLeft || isRenewalOwed || rolling != nil
        state.shards = workers.map(\.stored)
        return state
    }

    /// A digest that differs for different configurations of workers.
    private var contractDigest: [UInt8] {
        let contract = BirthContract(
            shard: 0,
            generation: 0,
            map: ShardMap(shardCount: 1, generation: 0),
            clientListeners: listeners.client.count,
            apiListeners: listeners.api.count,
            metricsListeners: listeners.metrics.count,
            configuration: configuration,
            secrets: secrets.secrets,
            addressKey: 0
        )
        return SHA1.digest(contract.bytes)
    }

    /// How long replacements that are under way may take before this process ends all the same.
    private static let leavePatience: UInt64 = 5_000_000_000

    /// Ends this process, and leaves the workers to the next one, as soon as nothing is being replaced any more.
    ///
    /// A worker that still answers backends, but has no shard any more, may do so to the end.
    func leave() {
        guard leaveDeadline == nil, stopDeadline == nil, !hasLeft else { return }
        undertaking = unsafe .leaving(deadline: loop.now + Self.leavePatience, during: undertaking)
        notes.leaving()
    }

    func continueLeaving(_ now: UInt64) {
        guard let leaveDeadline else { return }
        let isSettled =
            others.isEmpty && undertaking.isSettled
            && workers.allSatisfy { $0.replacement == nil }
        guard isSettled || now >= leaveDeadline else { return }
        let interrupted = undertaking
        undertaking = .left
        answerUndertaking(interrupted, "the service is restarted")
        // Clients that wait for a shard that is being replaced are passed back, so that they get an answer.
        for worker in workers { giveBack(worker.takeHeldClients()) }
        isStoreStale = true
        keepStore()
        flush()
        Systemd.waitUntilHeard(seconds: 5)
        log.info("The workers keep serving; the next process takes them over")
        isFinished = true
        control.stop()
        loop.stop()
    }

    // MARK: The next one

    /// Meets the workers that continue to serve; requests wait until all of them have answered, or ended.
    func goOn(with remains: Remains) throws {
        // The shards have workers already.
        undertaking = .idle
        switchboard.hold()
        for worker in workers where worker.process != nil {
            try register(worker)
            worker.process?.isOfThisProgram = remains.state.workerProgram == workerProgram.identity
        }
        remains.discardOthers()
        isStoreStale = true
        log.warning(
            "Continuing with the workers of the previous process",
            metadata: [
                "workers": "\(workers.count)", "planned": "\(remains.state.isPlanned)",
                "version_before": "\(remains.state.program)",
            ]
        )
    }

    /// Releases the requests that waited, once the state of every shard is known.
    func endMeeting() {
        guard let remains, !workers.contains(where: { !$0.isServing && $0.custody.holdsClients }) else {
            return
        }
        self.remains = nil
        unsafe switchboard.release(now: loop.now)
        let state = remains.state
        let count = configuration.workers ?? min(CurrentProcess.usableCPUs, ShardMap.largestShardCount)
        isRenewalOwed = true
        isStoreStale = true
        if count != workers.count || state.startOnly.firstObstacle(to: StartOnly(configuration)) != nil {
            // The memory of the shards has its size from the configuration: new shards have new memory.
            return scale(to: count, isForced: true) { self.renewed($0) }
        }
        if state.isPlanned || state.workerProgram != workerProgram.identity || state.configuration != contractDigest
            || !hasCurrentMemory
        {
            return renew { self.renewed($0) }
        }
        isRenewalOwed = false
    }

    private func renewed(_ problem: String?) {
        if let problem {
            log.error("The workers of the previous process were not replaced", metadata: ["why": "\(problem)"])
        } else {
            log.info("The workers of the previous process were replaced")
            inForce = StartOnly(configuration)
            isRenewalOwed = false
            isStoreStale = true
        }
    }

    /// Takes the clients that came over the post of the previous supervisor.
    func takeOldPost(of worker: WorkerProcess) {
        guard let post = worker.oldPost else { return }
        worker.oldPost = nil
        while let packet = post.receive() { deliver(packet) }
    }
}
