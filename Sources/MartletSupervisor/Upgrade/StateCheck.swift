// SPDX-License-Identifier: Apache-2.0

internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// Checks whether this program could go on where a running supervisor stops.
///
/// It runs as a child of that supervisor, on a copy of its state, before the supervisor becomes this program.
enum StateCheck {
    /// The child's descriptor of the state; the next one is for the problem.
    private static let state: Int32 = 3
    private static let problem: Int32 = 4
    static let longestProblem = 4096
    /// How long a worker may take to identify itself, in milliseconds.
    private static let patience: Int32 = 5000

    /// Runs the check; if this program could not go on, writes the problem to descriptor 4 and returns false.
    static func run(_ settings: () throws -> (Configuration, SecretReading)) -> Bool {
        do {
            let bytes = try SharedMemory.contents(of: state, limit: SupervisorState.largest)
            let state = try SupervisorState(bytes)
            _ = try check(state, settings)
            try checkWorker(Supervisor.workerPath(beside: state.path))
            return true
        } catch {
            try? SharedMemory.write(Array("\(error)".utf8.prefix(longestProblem)), to: problem)
            return false
        }
    }

    /// Reads the new configuration, and throws if this program cannot go on with it and the state.
    static func check(
        _ state: SupervisorState,
        _ settings: () throws -> (Configuration, SecretReading)
    ) throws -> (Configuration, SecretReading) {
        var (configuration, secrets) = try settings()
        if let key = state.startOnly.firstObstacle(to: StartOnly(configuration)) {
            throw UpgradeProblem("\(key) cannot be changed while the service is running: restart the service")
        }
        guard [ArenaLayout.version, ArenaLayout.previousVersion].contains(state.arenaVersion) else {
            throw UpgradeProblem("the memory of the running workers has a different layout: restart the service")
        }
        do throws(WireError) {
            try Switchboard.check(state.switchboard)
        } catch {
            throw UpgradeProblem("it cannot read what the switchboard knows: \(error)")
        }
        secrets.keepMadeUpSecret(state.developmentSecret)
        let isNetwork = state.apiListeners.contains { Listener.port(of: $0) != nil }
        try secrets.checkBackends(isNetwork: isNetwork)
        return (configuration, secrets)
    }

    /// Asks the worker's program for its identity.
    private static func checkWorker(_ path: String) throws {
        let answer = try SharedMemory.create(name: "martlet-identity", byteCount: 0)
        let child = try ChildProcess(
            path: path,
            arguments: [BirthContract.identifyArgument],
            environment: [],
            descriptors: [answer.number]
        )
        guard child.waitForEnd(milliseconds: patience) else {
            child.kill()
            throw UpgradeProblem("\(path) did not identify itself within 5 seconds")
        }
        let text = String(decoding: try SharedMemory.contents(of: answer.number, limit: 4096), as: UTF8.self)
        guard text == BirthContract.identity else {
            let found = text.isEmpty ? "it says nothing" : "it is \(text)"
            throw UpgradeProblem(
                "\(path) does not belong to this martletd, which needs \(BirthContract.identity): \(found)"
            )
        }
    }
}
