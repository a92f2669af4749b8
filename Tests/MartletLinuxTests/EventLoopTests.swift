// SPDX-License-Identifier: Apache-2.0

import MartletLinux
import Testing

/// An actor that lives on a loop.
private actor Resident {
    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    private(set) var count = 0

    init(loop: EventLoop) { self.loop = loop }

    func add() -> Bool {
        count += 1
        return loop.isIsolatingCurrentContext() ?? false
    }

    func stop() { loop.stop() }
}

/// Runs a loop on its own thread until the body is done.
private func withLoop(_ body: @escaping @Sendable (EventLoop) async -> Void) async throws {
    let loop = try EventLoop()
    let resident = Resident(loop: loop)
    await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
        ThreadStarter.start {
            loop.run { _ in }
            done.resume()
        }
        Task { @Sendable in
            await body(loop)
            await resident.stop()
        }
    }
}

@Suite struct EventLoopTests {
    @Test func `an actor on the loop runs on its thread, however it is entered`() async throws {
        try await withLoop { loop in
            let resident = Resident(loop: loop)
            let onLoop = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<1000 { group.addTask { await resident.add() } }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(onLoop == 1000)
            #expect(await resident.count == 1000)
        }
    }

    @Test func `timers fire in the order of their deadlines`() throws {
        let loop = try EventLoop()
        let start = loop.now
        loop.setTimer(deadline: start + 30_000_000, token: 3)
        loop.setTimer(deadline: start + 10_000_000, token: 1)
        loop.setTimer(deadline: start + 20_000_000, token: 2)
        var fired: [UInt64] = []
        loop.run { events in
            for event in events {
                #expect(event.isTimer && loop.now >= start + event.token * 10_000_000)
                fired.append(event.token)
            }
            if fired.count == 3 { loop.stop() }
        }
        #expect(fired == [1, 2, 3])
    }

    @Test func `a descriptor is reported with its token until it is deregistered`() throws {
        let loop = try EventLoop()
        let (one, two) = try SocketPair(.stream).split()
        let (ours, theirs) = (one, two)
        defer { for end in [ours, theirs] { closeDescriptor(end) } }
        try loop.register(ours, token: 42, interest: .readable)
        #expect(StreamSocket.send(theirs, ([1, 2, 3] as [UInt8]).span) == .moved(3))
        var received: [UInt8] = []
        loop.setTimer(after: 1_000_000_000, token: 7)
        loop.run { events in
            for event in events where event.token == 42 {
                #expect(event.isReadable && !event.isTimer)
                #expect(StreamSocket.receive(ours, appendingTo: &received, room: 10) == .moved(3))
                loop.deregister(ours)
                loop.stop()
            }
            if events.contains(where: { $0.token == 7 }) { loop.stop() }
        }
        #expect(received == [1, 2, 3])
        #expect(StreamSocket.receive(ours, appendingTo: &received, room: 10) == .wouldBlock)
    }

    @Test func `the timer heap agrees with a sorted list`() {
        var heap = TimerHeap()
        var model: [(deadline: UInt64, token: UInt64)] = []
        var generator = SystemRandomNumberGenerator()
        for token in 0..<2000 {
            let deadline = UInt64.random(in: 0..<500, using: &generator)
            model.append((deadline, UInt64(token)))
            heap.insert(deadline: deadline, token: UInt64(token))
            if token % 10 == 0 {
                let now = UInt64.random(in: 0..<500, using: &generator)
                var due: Set<UInt64> = []
                while let fired = heap.popDue(now: now) { due.insert(fired) }
                #expect(due == Set(model.filter { $0.deadline <= now }.map(\.token)))
                model.removeAll { $0.deadline <= now }
                #expect(heap.earliest == model.map(\.deadline).min())
            }
        }
    }
}
