// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletLinux
import MartletWire
import Testing

@testable import MartletSupervisor

/// Two or more shards whose workers are real processes that do nothing, with a switchboard between them.
final class ShardFixture {
    let roster: Roster
    let switchboard: Switchboard
    /// The other ends of the workers' links and posts.
    private var ends: [OwnedEnd] = []

    private final class OwnedEnd {
        let number: Int32
        init(_ number: Int32) { self.number = number }
        deinit { closeDescriptor(number) }
    }

    init(shards: Int = 2, serving: Int? = nil, holdBytes: Int = 1_000_000) throws {
        var workers: [WorkerProcess] = []
        for shard in 0..<shards {
            let worker = WorkerProcess(shard: shard, tag: shard, policy: Self.policy, waits: false)
            workers.append(worker)
        }
        roster = Roster(workers, ShardMap(shardCount: shards, generation: 1))
        switchboard = Switchboard(roster: roster, holdBytes: holdBytes, startedAt: 0, descriptorLimit: 1024)
        for worker in workers.prefix(serving ?? shards) { try start(worker) }
    }

    deinit {
        for worker in roster.workers + roster.others {
            worker.end("the test is over")
            if let child = worker.process?.process as? ChildProcess { _ = child.waitForEnd(milliseconds: 5000) }
        }
    }

    static let policy = WorkerLifecycle.Policy(
        readyTimeout: 1_000_000_000,
        livenessTimeout: 1_000_000_000,
        backoffMinimum: 1,
        backoffMaximum: 1
    )

    /// Gives a worker a process, and lets it serve.
    func start(_ worker: WorkerProcess) throws {
        let child = try ChildProcess(path: "/bin/sleep", arguments: ["600"], environment: [], descriptors: [])
        let (link, theirLink) = try SocketPair(.stream).split()
        let (post, theirPost) = try SocketPair(.packets).split()
        ends += [OwnedEnd(theirLink), OwnedEnd(theirPost)]
        worker.generation += 1
        worker.process = RunningWorker(
            pid: child.pid,
            process: child,
            link: OwnedDescriptor(owning: link),
            post: DescriptorChannel(owning: post, window: 8, bound: 8),
            keeper: nil,
            tether: nil,
            isOfThisProgram: true
        )
        worker.lifecycle.started(at: 0)
        for event in [ShardCustody.Event.started, .ready, .collected(isComplete: true), .recovered] {
            _ = worker.custody.heard(event)
        }
        #expect(worker.lifecycle.becameReady(at: 0) && worker.custody.state == .serving)
    }

    /// Ends a worker's process, and what the supervisor has of it.
    func end(_ worker: WorkerProcess, leaves: Bool = true) {
        worker.end("the test ended it")
        if let child = worker.process?.process as? ChildProcess { _ = child.waitForEnd(milliseconds: 5000) }
        worker.lifecycle.ended(at: 1, jitter: 0)
        _ = worker.custody.heard(.ended(leaves: leaves, restartsSoon: true))
        worker.forget(WorkerEnd("the test ended it"))
    }

    subscript(shard: Int) -> WorkerProcess { roster.workers[shard] }

    /// A worker sends a request.
    @discardableResult
    func ask(
        _ request: Request,
        from shard: Int,
        to destination: UInt16,
        number: UInt64 = 1,
        text: String = "",
        mapGeneration: UInt32 = 1,
        now: UInt64 = 0
    ) throws -> PendingRequests.Key {
        let payload = CommandCoding.encode(request) + Array(text.utf8)
        let correlation = UInt64(self[shard].generation) << 40 | number
        let header = PeerHeader(
            kind: .command,
            // It may say anything of itself.
            source: 99,
            destination: destination,
            correlation: correlation,
            mapGeneration: mapGeneration,
            payloadLength: payload.count
        )
        try receive(header, payload, from: self[shard]) { frame in
            switchboard.command(frame, from: self[shard], now: now)
        }
        return PendingRequests.Key(source: UInt16(shard), correlation: correlation)
    }

    /// A worker answers.
    func reply(_ reply: CommandReply, from shard: Int, to key: PendingRequests.Key) throws {
        let payload = CommandCoding.encode(reply)
        let header = PeerHeader(
            kind: .reply,
            source: UInt16(shard),
            destination: key.source,
            correlation: key.correlation,
            payloadLength: payload.count
        )
        try receive(header, payload, from: self[shard]) { frame in switchboard.reply(frame, from: self[shard]) }
    }

    private func receive(
        _ header: PeerHeader,
        _ payload: [UInt8],
        from worker: WorkerProcess,
        _ body: (PeerStream.Frame) -> Void
    ) throws {
        let process = try #require(worker.process)
        header.write(to: &process.stream.input)
        process.stream.input += payload
        body(try #require(try process.stream.next()))
    }

    /// What was sent to a worker since this was asked last.
    func sent(to shard: Int) throws -> [Sent] {
        let process = try #require(self[shard].process)
        let bytes = Array(process.stream.output[process.stream.outputStart...])
        process.stream.didSend(bytes.count)
        var reader = PeerStream(input: bytes, output: [])
        var all: [Sent] = []
        while let frame = try reader.next() {
            all.append(Sent(header: frame.header, payload: Array(bytes[frame.payload])))
        }
        return all
    }

    struct Sent {
        let header: PeerHeader
        let payload: [UInt8]

        var reply: CommandReply? { try? CommandCoding.decodeReply(payload, in: 0..<payload.count) }
        var request: Request? { try? CommandCoding.decode(payload, in: 0..<payload.count).0 }
    }

    /// A user of a shard.
    func user(of shard: Int, _ salt: Int = 0) throws -> String {
        let map = roster.map
        return try #require((0..<10_000).lazy.map { "user-\(salt)-\($0)" }.first { map.shard(ofUser: $0) == shard })
    }
}
