// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc
internal import Synchronization

/// One thread's event loop over epoll(7), which is also a serial executor, so that actors can live on it.
///
/// The caller of ``run(_:)`` lends its thread. Each turn waits for the kernel, runs the jobs that actors and tasks have
/// enqueued, and then calls the turn handler once with everything that is ready. The handler also does whatever must
/// happen at the end of the turn. Descriptors are registered level-triggered, with a token that the caller chooses and
/// that comes back with every event. All members except `enqueue` belong to the loop's thread.
///
/// `@unchecked Sendable`: the executor protocols require it; only the loop's thread touches the mutable state, except
/// for the ``JobInbox``, which guards itself, and the thread's name, which is atomic.
package final class EventLoop: SerialExecutor, TaskExecutor, @unchecked Sendable {
    /// What a descriptor is watched for.
    package struct Interest: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }

        package static let readable = Interest(rawValue: EPOLLIN.rawValue)
        package static let writable = Interest(rawValue: EPOLLOUT.rawValue)
        /// Only the end of the stream, which means that somebody has shut it down.
        package static let end = Interest(rawValue: EPOLLRDHUP.rawValue)
        /// Wake only one of several loops that watch the same listener (EPOLLEXCLUSIVE).
        package static let exclusive = Interest(rawValue: EPOLLEXCLUSIVE.rawValue)
    }

    /// A descriptor that is ready, or a timer whose deadline has passed.
    package struct Event: Sendable {
        /// The token that the descriptor or timer was registered with.
        package let token: UInt64
        fileprivate let bits: UInt32

        /// There is something to read, or an end or an error that reading will reveal.
        package var isReadable: Bool { bits & (EPOLLIN.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 }
        package var isWritable: Bool { bits & EPOLLOUT.rawValue != 0 }
        /// Both directions are over: the peer has gone, or the connection was reset.
        package var isGone: Bool { bits & (EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 }
        /// The event is from a timer whose deadline has passed, and not from a descriptor.
        package var isTimer: Bool { bits == 0 }
    }

    private static let wakeToken = UInt64.max
    private static let timerToken = UInt64.max - 1
    private static let eventsPerTurn = 512

    private let epoll: Int32
    private let wakeup: Int32
    private let timer: Int32
    private let inbox = JobInbox()
    /// The thread that runs the loop, so that code can check whether it runs on this thread.
    private let thread: Atomic<UInt>
    private nonisolated(unsafe) var local: [UnownedJob] = []  // guarded by: loop thread
    private nonisolated(unsafe) var timers = TimerHeap()  // guarded by: loop thread
    private nonisolated(unsafe) var armedDeadline: UInt64?  // guarded by: loop thread
    private nonisolated(unsafe) var isStopping = false  // guarded by: loop thread
    /// The monotonic clock at the start of this turn, in nanoseconds: read this instead of asking the kernel again.
    package private(set) nonisolated(unsafe) var now: UInt64  // guarded by: loop thread

    package init() throws(SystemCallError) {
        thread = Atomic(pthread_self())
        unsafe now = Clock.monotonicNanoseconds()
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw .last("epoll_create1") }
        wakeup = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        guard wakeup >= 0 else { throw .last("eventfd") }
        timer = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK) | Int32(TFD_CLOEXEC))
        guard timer >= 0 else { throw .last("timerfd_create") }
        try register(wakeup, token: Self.wakeToken, interest: .readable)
        try register(timer, token: Self.timerToken, interest: .readable)
    }

    deinit {
        for descriptor in [timer, wakeup, epoll] { closeDescriptor(descriptor) }
    }

    // MARK: Descriptors

    /// Starts watching a descriptor; the caller still owns it, and must ``deregister(_:)`` it before passing it on.
    package func register(_ descriptor: Int32, token: UInt64, interest: Interest) throws(SystemCallError) {
        try control(EPOLL_CTL_ADD, descriptor, token, interest)
    }

    package func modify(_ descriptor: Int32, token: UInt64, interest: Interest) throws(SystemCallError) {
        try control(EPOLL_CTL_MOD, descriptor, token, interest)
    }

    /// Stops watching a descriptor.
    ///
    /// This is necessary before a descriptor leaves this process: the kernel watches the open file, not the number.
    package func deregister(_ descriptor: Int32) {
        var unused = unsafe epoll_event()
        _ = unsafe epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &unused)
    }

    private func control(
        _ operation: Int32,
        _ descriptor: Int32,
        _ token: UInt64,
        _ interest: Interest
    ) throws(SystemCallError) {
        var event = unsafe epoll_event()
        unsafe event.events = interest.rawValue
        unsafe event.data.u64 = token
        guard unsafe epoll_ctl(epoll, operation, descriptor, &event) == 0 else { throw .last("epoll_ctl") }
    }

    // MARK: Timers

    /// Delivers an event with this token at the given monotonic time.
    package func setTimer(deadline: UInt64, token: UInt64) {
        unsafe timers.insert(deadline: deadline, token: token)
    }

    /// Delivers an event with this token after so many nanoseconds.
    package func setTimer(after nanoseconds: UInt64, token: UInt64) {
        unsafe setTimer(deadline: now &+ nanoseconds, token: token)
    }

    /// Sets the timerfd to the earliest deadline, but only if that has changed.
    private func armTimer() {
        let earliest = unsafe timers.earliest
        if unsafe earliest == armedDeadline { return }
        unsafe armedDeadline = earliest
        var when = itimerspec()
        if let earliest {
            let deadline = max(earliest, 1)  // zero would disarm
            when.it_value.tv_sec = Int(deadline / 1_000_000_000)
            when.it_value.tv_nsec = Int(deadline % 1_000_000_000)
        }
        _ = unsafe timerfd_settime(timer, Int32(TFD_TIMER_ABSTIME), &when, nil)
    }

    // MARK: Running

    /// Runs turns until ``stop()``: first the jobs, then one call of `turn` with everything that is ready.
    package func run(_ turn: ([Event]) -> Void) {
        thread.store(pthread_self(), ordering: .relaxed)
        var ready: [Event] = []
        ready.reserveCapacity(Self.eventsPerTurn)
        let capacity = Self.eventsPerTurn
        unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: capacity) { kernelEvents in
            while unsafe !isStopping {
                runJobs()
                armTimer()
                if unsafe isStopping { return }
                let timeout: Int32 = unsafe local.isEmpty ? -1 : 0
                let count = unsafe epoll_wait(epoll, kernelEvents.baseAddress, Int32(capacity), timeout)
                unsafe now = Clock.monotonicNanoseconds()
                ready.removeAll(keepingCapacity: true)
                for index in 0..<max(0, Int(count)) {
                    let event = unsafe kernelEvents[index]
                    let token = unsafe event.data.u64
                    switch token {
                    case Self.wakeToken: takeInbox()
                    case Self.timerToken: takeDueTimers(into: &ready)
                    default: unsafe ready.append(Event(token: token, bits: event.events))
                    }
                }
                if !ready.isEmpty { turn(ready) }
            }
        }
    }

    /// Ends ``run(_:)`` after the current turn.
    package func stop() {
        assertInLoop()
        unsafe isStopping = true
    }

    private func takeDueTimers(into ready: inout [Event]) {
        var expirations: UInt64 = 0
        _ = unsafe read(timer, &expirations, 8)
        unsafe armedDeadline = nil
        while let token = unsafe timers.popDue(now: now) { ready.append(Event(token: token, bits: 0)) }
    }

    private func takeInbox() {
        var count: UInt64 = 0
        _ = unsafe read(wakeup, &count, 8)
        unsafe local += inbox.take()
    }

    private func runJobs() {
        while unsafe !local.isEmpty {
            let batch = unsafe local
            unsafe local = []
            for job in batch {
                unsafe job.runSynchronously(
                    isolatedTo: asUnownedSerialExecutor(),
                    taskExecutor: asUnownedTaskExecutor()
                )
            }
        }
    }

    // MARK: Executor

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isLoopThread {
            unsafe local.append(job)
            return
        }
        if inbox.append(job) { wake() }
    }

    package func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        unsafe UnownedSerialExecutor(ordinary: self)
    }

    package func checkIsolated() {
        precondition(isLoopThread, "not on this event loop's thread")
    }

    package func isIsolatingCurrentContext() -> Bool? { isLoopThread }

    private func wake() {
        var one: UInt64 = 1
        _ = unsafe write(wakeup, &one, 8)
    }

    private var isLoopThread: Bool { thread.load(ordering: .relaxed) == pthread_self() }

    private func assertInLoop() {
        assert(isLoopThread, "not on this event loop's thread")
    }
}
