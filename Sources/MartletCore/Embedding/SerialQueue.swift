// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Runs an actor's jobs one after the other on Swift's shared threads.
///
/// For managers that are not on an event loop: an application that embeds the library, and tests.
package final class SerialQueue: SerialExecutor {
    /// A job that waits, and the address of the one that came before it.
    private final class Waiting {
        let job: UnownedJob
        let before: UInt

        init(_ job: UnownedJob, before: UInt) {
            self.job = job
            self.before = before
        }
    }

    private static let idle: UInt = 0
    /// The value of ``last`` while jobs are run and none waits.
    private static let running: UInt = 1

    /// ``idle``, ``running``, or the address of the job that came last: jobs are pushed, and taken all at once.
    private let last = Atomic<UInt>(idle)

    package init() {}

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        var seen = last.load(ordering: .relaxed)
        while true {
            let waiting = unsafe Unmanaged.passRetained(Waiting(job, before: max(seen, Self.running)))
            let address = UInt(bitPattern: unsafe waiting.toOpaque())
            let (exchanged, original) = last.compareExchange(
                expected: seen,
                desired: address,
                ordering: .acquiringAndReleasing
            )
            if exchanged { break }
            unsafe waiting.release()
            seen = original
        }
        // Nobody waits for the task: it ends by itself when nothing is left to run.
        if seen == Self.idle { Task.detached { self.drain() } }
    }

    private func drain() {
        while true {
            var address = last.exchange(Self.running, ordering: .acquiringAndReleasing)
            var jobs: [UnownedJob] = []
            while address != Self.running, let pointer = unsafe UnsafeRawPointer(bitPattern: address) {
                let waiting = unsafe Unmanaged<Waiting>.fromOpaque(pointer).takeRetainedValue()
                jobs.append(waiting.job)
                address = waiting.before
            }
            for job in jobs.reversed() { unsafe job.runSynchronously(on: asUnownedSerialExecutor()) }
            if jobs.isEmpty {
                let (ended, _) = last.compareExchange(
                    expected: Self.running,
                    desired: Self.idle,
                    ordering: .acquiringAndReleasing
                )
                if ended { return }
            }
        }
    }
}
