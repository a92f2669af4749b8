internal import Synchronization

/// Runs an actor's jobs one after the other on Swift's shared threads.
///
/// For managers that are not on an event loop: an application that embeds the library, and tests.
package final class SerialQueue: SerialExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var isRunning = false
    }

    private let state = Mutex(State())

    package init() {}

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let mustStart = state.withLock { state in
            state.jobs.append(job)
            defer { state.isRunning = true }
            return !state.isRunning
        }
        // Nobody waits for it: it ends by itself when nothing is left to run.
        if mustStart { Task.detached { self.drain() } }
    }

    private func drain() {
        while true {
            let batch = state.withLock { state in
                defer { state.jobs = [] }
                if state.jobs.isEmpty { state.isRunning = false }
                return state.jobs
            }
            if batch.isEmpty { return }
            for job in batch { unsafe job.runSynchronously(on: asUnownedSerialExecutor()) }
        }
    }
}
