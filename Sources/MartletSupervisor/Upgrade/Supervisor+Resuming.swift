// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// The second half of an upgrade: the new program takes up what the previous one has left.

/// What the previous program of this process has left for this one.
struct Resumption {
    let state: SupervisorState
    /// Why the next program could not go on, if this is the previous one again; otherwise nil.
    let problem: String?
    private let memory: Int32

    /// Reads what was left; nil if this is an ordinary start.
    init?() throws {
        guard let text = CurrentProcess.environment(SupervisorState.variable), let memory = Int32(text) else {
            return nil
        }
        self.memory = memory
        problem = CurrentProcess.environment(SupervisorState.problemVariable)
        var state = try SupervisorState(SharedMemory.contents(of: memory, limit: SupervisorState.largest))
        state.takeMetricsListeners()
        self.state = state
        for variable in SupervisorState.variables { CurrentProcess.unsetEnvironment(variable) }
    }

    /// The worker's program, if this is the previous program again; nil: the one beside our own file.
    var workerProgram: ProgramFile? {
        problem == nil
            ? nil : ProgramFile(path: Supervisor.workerPath(beside: state.path), owning: state.workerProgram)
    }

    /// Becomes the previous program again, which goes on; returns only if there is none.
    func fallBack(_ error: any Error) {
        guard state.previous >= 0, problem == nil else { return }
        let variables =
            [
                (SupervisorState.variable, "\(memory)"), (SupervisorState.problemVariable, "\(error)"),
            ] + state.metricsVariables
        _ = NextProgram.become(
            descriptor: state.previous,
            arguments: CommandLine.arguments,
            environment: Supervisor.environment(with: variables)
        )
    }

    /// Closes the descriptors that were kept for the way back, which is not possible from now on.
    func commit() {
        for descriptor in state.descriptors { NextProgram.keep(descriptor, false) }
        closeDescriptor(memory)
        if state.previous >= 0 { closeDescriptor(state.previous) }
        if workerProgram == nil { closeDescriptor(state.workerProgram) }
    }
}

extension Supervisor {
    /// Goes on with everything; then replaces the workers, and answers whoever asked for the upgrade.
    func resume(_ resumption: Resumption) throws {
        resumption.commit()
        for worker in workers { try register(worker) }
        for pid in resumption.state.keepers {
            guard let keeper = WatchedProcess(pid: pid) else { continue }
            try loop.register(keeper.handle, token: Source.keeperEnd.token(Int(pid)), interest: .readable)
            keepers[pid] = keeper
        }
        wasReady = true
        undertaking = .idle
        unsafe switchboard.release(now: loop.now)
        announceStates()
        let asker = resumption.state.asker
        if let problem = resumption.problem {
            log.error("The new program could not continue; this is the previous one", metadata: ["why": "\(problem)"])
            return answer(
                asker,
                Self.answer("the new program could not continue, and the old one is back: \(problem)", "upgraded")
            )
        }
        log.info(
            "Martlet \(Martlet.version) continues",
            metadata: ["from": "\(resumption.state.program)", "workers": "\(workers.count)"]
        )
        renew { problem in
            if let problem { return self.answer(asker, Self.answer(problem, "upgraded")) }
            self.log.event(.upgraded, metadata: ["version": "\(Martlet.version)"])
            self.answer(asker, .json(Array("{\"upgraded\":true,\"version\":\"\(Martlet.version)\"}".utf8)))
        }
    }

    /// Answers the operator that asked the previous program, and ends that connection.
    private func answer(_ asker: Int32, _ response: HTTPResponse) {
        guard asker >= 0 else { return }
        var bytes: [UInt8] = []
        response.write(to: &bytes, connection: .closes, date: HTTPDate(unixSeconds: Clock.unixMilliseconds() / 1000))
        StreamSocket.answerAndClose(asker, bytes)
    }
}
