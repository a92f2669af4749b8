// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Jobs that other threads leave for an ``EventLoop``.
///
/// It is guarded by a pthreads mutex, and not by `Synchronization.Mutex`, because ThreadSanitizer understands this one:
/// a real race here must not hide among false ones.
///
/// `@unchecked Sendable`: the state is touched only under the mutex.
@safe
final class JobInbox: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var jobs: [UnownedJob] = []
    private var isSignalled = false

    init() {
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe pthread_mutex_init(mutex, nil)
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    /// Leaves a job; returns true if the loop must be woken for it.
    func append(_ job: UnownedJob) -> Bool {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        jobs.append(job)
        defer { isSignalled = true }
        return !isSignalled
    }

    /// Takes all jobs.
    func take() -> [UnownedJob] {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        isSignalled = false
        defer { jobs = [] }
        return jobs
    }
}
