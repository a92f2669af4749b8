// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// The supervisor becomes its next version, with the same process id, children and sockets. Then it replaces the
// workers.

extension Supervisor {
    /// How long answers to earlier requests may take, which is longer than a shard may take.
    private static let drainPatience: UInt64 = 6_000_000_000

    static func workerPath(beside program: String) -> String {
        program.prefix(through: program.lastIndex(of: "/") ?? program.startIndex) + "martlet-worker"
    }

    /// Becomes the program in the file from which ours was started; the new program answers whoever asked for this.
    func upgrade(_ asker: Int32, _ respond: @escaping (HTTPResponse) -> Void) {
        if let refusal = refusal(toBegin: .upgrade) { return respond(Self.answer(refusal, "upgraded")) }
        do {
            let memory = try SharedMemory.sealed(name: "martlet-state", bytes: state(asker: -1, previous: -1).bytes)
            let problem = try SharedMemory.create(name: "martlet-check", byteCount: 0)
            let check = try ChildProcess(
                path: path,
                arguments: CommandLine.arguments.dropFirst() + ["--check-state"],
                environment: CurrentProcess.environment,
                descriptors: [memory.number, problem.number]
            )
            try loop.register(check.handle, token: Source.check.token(), interest: .readable)
            let deadline = unsafe loop.now + configuration.supervision.handoverTimeout.nanoseconds
            undertaking.begin(.upgrading(Upgrade(check, problem, deadline: deadline, asker: asker, respond)))
            log.info("Checking the new program", metadata: ["path": "\(path)"])
        } catch {
            respond(Self.answer("the new program cannot be started: \(error)", "upgraded"))
        }
    }

    /// Handles the end of the next program's check of our state.
    func checkEnded() {
        guard let upgrading, case .checking = upgrading.stage, let end = upgrading.check.reap() else { return }
        loop.deregister(upgrading.check.handle)
        guard end != .exited(code: 0) else {
            upgrading.stage = .waiting
            return continueUpgrade()
        }
        let bytes = try? SharedMemory.contents(of: upgrading.problem.number, limit: StateCheck.longestProblem)
        let said = String(decoding: bytes ?? [], as: UTF8.self)
        endUpgrade("the new program cannot take over from this one: \(said.isEmpty ? "\(end)" : said)")
    }

    func continueUpgrade() {
        guard let upgrading else { return }
        switch upgrading.stage {
        case .checking: return
        case .waiting:
            guard isQuiet else { return }
            switchboard.hold()
            upgrading.stage = .draining
            upgrading.deadline = unsafe loop.now + Self.drainPatience
            continueUpgrade()
        // A worker that ends just now is replaced first, so that the next program finds every shard served.
        case .draining: if switchboard.isIdle, isQuiet { becomeNext(upgrading) }
        }
    }

    /// True if every shard has its worker, and there are no other workers.
    private var isQuiet: Bool {
        others.isEmpty && workers.allSatisfy { $0.isServing && $0.saved != nil }
    }

    func giveUpUpgrade(_ reason: String) {
        guard let upgrading else { return }
        if case .checking = upgrading.stage {
            upgrading.check.kill()
            loop.deregister(upgrading.check.handle)
            _ = upgrading.check.waitForEnd(milliseconds: 1000)
            return endUpgrade("the new program did not say in time whether it can take over")
        }
        endUpgrade(reason)
    }

    private func endUpgrade(_ problem: String) {
        guard let upgrading else { return }
        undertaking.end()
        unsafe switchboard.release(now: loop.now)
        log.event(.notUpgraded, metadata: ["why": "\(problem)"])
        upgrading.respond(Self.answer(problem, "upgraded"))
    }

    /// Becomes the next program; returns only if this failed, and then everything is as before.
    private func becomeNext(_ upgrading: Upgrade) {
        switchboard.refuseHeldOfOperators()
        flush()
        control.stop(except: upgrading.asker)
        var kept: [Int32] = []
        let problem: String
        do {
            let previous = try NextProgram.current()
            let state = state(asker: upgrading.asker, previous: previous.number)
            let memory = try SharedMemory.sealed(name: "martlet-state", bytes: state.bytes)
            kept = state.descriptors + [memory.number]
            for descriptor in kept { NextProgram.keep(descriptor, true) }
            log.info("Switching to the new program", metadata: ["path": "\(path)"])
            let variables = [(SupervisorState.variable, "\(memory.number)")] + state.metricsVariables
            problem =
                "\(NextProgram.become(path, arguments: CommandLine.arguments, environment: Self.environment(with: variables)))"
        } catch {
            problem = "\(error)"
        }
        for descriptor in kept { NextProgram.keep(descriptor, false) }
        endUpgrade("this program could not switch to the new one: \(problem)")
    }

    /// Returns our environment with these variables, and without older ones of their kind.
    static func environment(with variables: [(name: String, value: String)]) -> [String] {
        let own = SupervisorState.variables
        let others = CurrentProcess.environment.filter { entry in !own.contains { entry.hasPrefix($0 + "=") } }
        return others + variables.map { "\($0.name)=\($0.value)" }
    }

    /// The layout of the shards' memory: the older one, while any shard has that.
    var arenaVersion: UInt32 {
        workers.allSatisfy(\.hasCurrentLayout) ? ArenaLayout.version : ArenaLayout.previousVersion
    }

    private func state(asker: Int32, previous: Int32) -> SupervisorState {
        var state = SupervisorState(
            path: path,
            previous: previous,
            workerProgram: workerProgram.descriptor,
            startOnly: inForce,
            mapGeneration: switchboard.map.generation,
            startedAt: switchboard.startedAt,
            listeners: listeners,
            board: board,
            developmentSecret: secrets.isSecretMadeUp ? secrets.secrets.hmac : [],
            asker: asker,
            keepers: Array(keepers.keys),
            switchboard: switchboard.saved,
            store: store
        )
        state.workers = workers.compactMap(\.saved)
        state.arenaVersion = arenaVersion
        return state
    }
}
