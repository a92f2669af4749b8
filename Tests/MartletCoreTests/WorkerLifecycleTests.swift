// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

@Suite struct WorkerLifecycleTests {
    private let policy = WorkerLifecycle.Policy(
        readyTimeout: 1000,
        livenessTimeout: 500,
        backoffMinimum: 100,
        backoffMaximum: 800
    )

    private func serving(at now: UInt64) -> WorkerLifecycle {
        var lifecycle = WorkerLifecycle(policy: policy)
        lifecycle.started(at: now)
        expect(lifecycle.becameReady(at: now))
        return lifecycle
    }

    @Test func `a new shard starts its worker at once`() {
        var lifecycle = WorkerLifecycle(policy: policy)
        expect(lifecycle.checked(at: 0) == .start)
        lifecycle.started(at: 0)
        #expect(lifecycle.shardState == .starting)
        expect(lifecycle.checked(at: 1) == .none)
    }

    @Test func `a worker that is not ready in time is killed once`() {
        var lifecycle = WorkerLifecycle(policy: policy)
        lifecycle.started(at: 0)
        expect(lifecycle.checked(at: 999) == .none)
        expect(lifecycle.checked(at: 1000) == .kill(.notReady))
        expect(lifecycle.checked(at: 1001) == .none)
        #expect(lifecycle.shardState == .down)
        expect(!lifecycle.becameReady(at: 1002), "ready comes too late")
    }

    @Test func `a worker that does not say alive any more is killed, and one that says it is not`() {
        var lifecycle = serving(at: 0)
        lifecycle.saidAlive(at: 400)
        expect(lifecycle.checked(at: 899) == .none)
        expect(lifecycle.checked(at: 900) == .abort, "it may say where it hangs")
        #expect(lifecycle.shardState == .down)
        expect(lifecycle.checked(at: 900 + 1_999_999_999) == .none)
        expect(lifecycle.checked(at: 900 + 2_000_000_000) == .kill(.notAlive))
        expect(lifecycle.checked(at: 900 + 2_000_000_001) == .none)
    }

    @Test func `time in which the supervisor was halted does not count`() {
        var starting = WorkerLifecycle(policy: policy)
        starting.started(at: 0)
        starting.judgeWasHalted(for: 5000)
        expect(starting.checked(at: 5999) == .none)
        expect(starting.checked(at: 6000) == .kill(.notReady))
        var lifecycle = serving(at: 0)
        lifecycle.judgeWasHalted(for: 5000)
        expect(lifecycle.checked(at: 5499) == .none)
        expect(lifecycle.checked(at: 5500) == .abort)
        lifecycle.judgeWasHalted(for: 5_000_000_000)
        expect(lifecycle.checked(at: 7_000_005_499) == .none)
        expect(lifecycle.checked(at: 7_000_005_500) == .kill(.notAlive))
    }

    @Test func `a worker that ends on SIGABRT is replaced at once`() {
        var lifecycle = serving(at: 0)
        expect(lifecycle.checked(at: 500) == .abort)
        lifecycle.ended(at: 600, jitter: 0)
        expect(lifecycle.checked(at: 600) == .start)
    }

    @Test func `a worker that was killed and does not end is stuck after thirty seconds`() {
        var lifecycle = serving(at: 0)
        expect(lifecycle.checked(at: 500) == .abort)
        expect(lifecycle.checked(at: 2_000_000_500) == .kill(.notAlive))
        #expect(!lifecycle.isStuck(at: 32_000_000_500))
        #expect(lifecycle.isStuck(at: 32_000_000_501))
        lifecycle.ended(at: 32_000_000_502, jitter: 0)
        #expect(!lifecycle.isStuck(at: 90_000_000_000))
    }

    @Test func `more than five ends in thirty seconds make a shard unstable, until they are long ago`() {
        var lifecycle = serving(at: 0)
        for round in 1...6 {
            #expect(!lifecycle.isUnstable)
            lifecycle.ended(at: UInt64(round) * 5_000_000_000, jitter: 0)
            lifecycle.started(at: UInt64(round) * 5_000_000_000)
            expect(lifecycle.becameReady(at: UInt64(round) * 5_000_000_000))
        }
        #expect(lifecycle.isUnstable)
        lifecycle.ended(at: 70_000_000_000, jitter: 0)
        #expect(!lifecycle.isUnstable)
    }

    @Test func `a worker that somebody kills again and again is not unstable`() {
        var lifecycle = serving(at: 0)
        for round in 1...20 {
            lifecycle.ended(at: UInt64(round) * 1_000_000_000, jitter: 0, isKilled: true)
            lifecycle.started(at: UInt64(round) * 1_000_000_000)
            expect(lifecycle.becameReady(at: UInt64(round) * 1_000_000_000))
            #expect(!lifecycle.isUnstable)
        }
    }

    @Test func `a worker that crashed after serving is replaced at once, however often`() {
        var lifecycle = serving(at: 0)
        var now: UInt64 = 0
        for _ in 0..<10 {
            now += 2_000_000_000
            lifecycle.ended(at: now, jitter: 0)
            expect(lifecycle.checked(at: now) == .start)
            lifecycle.started(at: now)
            expect(lifecycle.becameReady(at: now))
        }
        #expect(lifecycle.restarts == 10)
    }

    @Test func `failed starts back off: at once, then the minimum doubling to the maximum`() {
        var lifecycle = WorkerLifecycle(policy: policy)
        var delays: [UInt64] = []
        var now: UInt64 = 0
        for _ in 0..<7 {
            lifecycle.started(at: now)
            lifecycle.ended(at: now, jitter: 0)
            let until = lifecycle.deadline ?? 0
            delays.append(until - now)
            now = until
        }
        #expect(delays == [0, 100, 200, 400, 800, 800, 800])
    }

    @Test func `jitter shortens a delay by at most half`() {
        var lifecycle = WorkerLifecycle(policy: policy)
        for _ in 0..<2 {
            lifecycle.started(at: 0)
            lifecycle.ended(at: 0, jitter: 0.999)
        }
        #expect((50...51).contains(lifecycle.deadline ?? 0))
    }

    @Test func `after a requested stop nothing is started again`() {
        var lifecycle = serving(at: 0)
        lifecycle.stopRequested()
        #expect(lifecycle.shardState == .stopping && lifecycle.hasProcess)
        lifecycle.ended(at: 10, jitter: 0)
        #expect(!lifecycle.hasProcess)
        expect(lifecycle.checked(at: 1_000_000) == .none)
    }
}
