// SPDX-License-Identifier: Apache-2.0

/// The life of a shard's worker process as its supervisor sees it: when to start one, when to end one, when to wait.
///
/// The type is pure: time (nanoseconds of a monotonic clock) and chance come in as arguments, and actions come out.
package struct WorkerLifecycle: Equatable, Sendable {
    /// How patient the supervisor is; all in nanoseconds.
    package struct Policy: Equatable, Sendable {
        /// How long a new worker may take to say `ready`.
        package var readyTimeout: UInt64
        /// How long a worker may go without saying `alive`.
        package var livenessTimeout: UInt64
        package var backoffMinimum: UInt64
        package var backoffMaximum: UInt64

        package init(readyTimeout: UInt64, livenessTimeout: UInt64, backoffMinimum: UInt64, backoffMaximum: UInt64) {
            self.readyTimeout = readyTimeout
            self.livenessTimeout = livenessTimeout
            self.backoffMinimum = backoffMinimum
            self.backoffMaximum = backoffMaximum
        }
    }

    private enum State: Equatable, Sendable {
        /// There is no process; one is to be started at this time.
        case waiting(until: UInt64)
        case starting(since: UInt64)
        case serving(lastAlive: UInt64)
        /// The process was asked to say where it hangs, and to end.
        case aborting(since: UInt64)
        /// A kill was sent, and the process has not ended yet.
        case ending(since: UInt64)
        /// The process was asked to stop for good.
        case stopping
        case stopped
    }

    package enum Action: Equatable, Sendable {
        case none
        /// Start a process now.
        case start
        /// Ask the process to say where it hangs, and to end.
        case abort
        /// Kill the process, because it did not say what it had to in time.
        case kill(KillReason)
    }

    package enum KillReason: String, Equatable, Sendable {
        case notReady = "it did not become ready in time"
        case notAlive = "it stopped answering"
    }

    /// How long a process that is aborted may take to end.
    private static let abortPatience: UInt64 = 2_000_000_000
    /// How long a process that was killed may take to end; after that, something is wrong with the machine or with us.
    private static let killPatience: UInt64 = 30_000_000_000
    /// More ends than this within ``recently`` are not a coincidence.
    private static let mostRecentEnds = 5
    private static let recently: UInt64 = 30_000_000_000

    private let policy: Policy
    private var recentEnds: [UInt64] = []
    private var state: State = .waiting(until: 0)
    private var failedStarts = 0
    /// How often the shard's worker has been replaced.
    package private(set) var restarts = 0

    /// Makes the life of a worker that is to be started; `restarts` continues the count of a previous supervisor.
    package init(policy: Policy, restarts: Int = 0) {
        self.policy = policy
        self.restarts = restarts
    }

    /// Makes the life of a worker that is already serving, because a previous program of the supervisor started it.
    package init(policy: Policy, servingSince now: UInt64, restarts: Int) {
        self.policy = policy
        state = .serving(lastAlive: now)
        self.restarts = restarts
    }

    package var shardState: ShardState {
        switch state {
        case .waiting, .stopped: .down
        case .starting: .starting
        case .serving: .serving
        case .aborting, .ending: .down
        case .stopping: .stopping
        }
    }

    /// True if the worker ends again and again: then whatever it handled when it ended is not trusted a second time.
    package var isUnstable: Bool { recentEnds.count > Self.mostRecentEnds }

    /// Returns true if the worker has ended and the next one starts at once, or very soon.
    package func restartsSoon(after now: UInt64) -> Bool {
        if case .waiting(let until) = state { return until <= now + 250_000_000 }
        return false
    }

    /// Returns true if the process was killed so long ago that it may never end.
    package func isStuck(at now: UInt64) -> Bool {
        if case .ending(let since) = state { return now > since + Self.killPatience }
        return false
    }

    package var hasProcess: Bool {
        switch state {
        case .waiting, .stopped: false
        default: true
        }
    }

    /// When ``checked(at:)`` should be called next.
    package var deadline: UInt64? {
        switch state {
        case .waiting(let until): until
        case .starting(let since): since + policy.readyTimeout
        case .serving(let lastAlive): lastAlive + policy.livenessTimeout
        case .aborting(let since): since + Self.abortPatience
        case .ending, .stopping, .stopped: nil
        }
    }

    /// Notes that the process was started.
    package mutating func started(at now: UInt64) {
        state = .starting(since: now)
    }

    /// Notes that the process said `ready`; false if this was not expected.
    package mutating func becameReady(at now: UInt64) -> Bool {
        guard case .starting = state else { return false }
        state = .serving(lastAlive: now)
        return true
    }

    /// Notes that this worker takes the place of one that lives, on request.
    package mutating func succeeds(_ other: WorkerLifecycle) { restarts = other.restarts + 1 }

    /// Notes that the process said `alive`.
    package mutating func saidAlive(at now: UInt64) {
        guard case .serving = state else { return }
        state = .serving(lastAlive: now)
    }

    /// Takes away the time for which the supervisor itself was halted.
    ///
    /// Probably every process was halted (the machine was stopped, or the whole service got SIGSTOP): that time does
    /// not count.
    package mutating func judgeWasHalted(for time: UInt64) {
        switch state {
        case .starting(let since): state = .starting(since: since + time)
        case .serving(let lastAlive): state = .serving(lastAlive: lastAlive + time)
        case .aborting(let since): state = .aborting(since: since + time)
        case .waiting, .ending, .stopping, .stopped: break
        }
    }

    /// Checks the time limits, and returns what to do now.
    package mutating func checked(at now: UInt64) -> Action {
        switch state {
        case .waiting(let until) where now >= until:
            return .start
        case .starting(let since) where now >= since + policy.readyTimeout:
            state = .ending(since: now)
            failedStarts += 1
            return .kill(.notReady)
        case .serving(let lastAlive) where now >= lastAlive + policy.livenessTimeout:
            state = .aborting(since: now)
            return .abort
        case .aborting(let since) where now >= since + Self.abortPatience:
            state = .ending(since: now)
            return .kill(.notAlive)
        default:
            return .none
        }
    }

    /// Notes that the process has ended, or could not be started.
    ///
    /// The first restart is immediate. The next ones wait for the minimum, which doubles up to the maximum; `jitter`
    /// (0..<1) shortens each wait by up to half. Only starts that did not lead to a worker that serves count, so a
    /// client that crashes its own worker cannot throttle the service. `isKilled` means that somebody else killed it
    /// (SIGKILL), which says nothing about what it was handling.
    package mutating func ended(at now: UInt64, jitter: Double, isKilled: Bool = false) {
        switch state {
        case .stopping, .stopped:
            state = .stopped
            return
        case .starting, .waiting:
            failedStarts += 1
        case .serving:
            failedStarts = 0
        case .aborting, .ending:
            break
        }
        restarts += 1
        recentEnds = recentEnds.filter { $0 + Self.recently > now } + (isKilled ? [] : [now])
        state = .waiting(until: now + delay(jitter: jitter))
    }

    /// Notes that the service stops.
    package mutating func stopRequested() {
        state = hasProcess ? .stopping : .stopped
    }

    private func delay(jitter: Double) -> UInt64 {
        guard failedStarts > 1 else { return 0 }
        let doublings = min(failedStarts - 2, 32)
        let full = min(policy.backoffMinimum << UInt64(min(doublings, 30)), policy.backoffMaximum)
        return full - UInt64(Double(full) / 2 * jitter)
    }
}
