// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// The messages of workers.

extension Supervisor {
    /// Returns the state of the service for the service manager.
    func service(_ now: UInt64) -> ServiceNotes.Service {
        ServiceNotes.Service(
            isWell: !(workers + others).contains { $0.lifecycle.isStuck(at: now) },
            // A start and a stop may take long, but not forever; replacements have their own deadlines.
            isBusy: now < busyUntil || rolling != nil || scaling != nil,
            workers: workers.map { $0.statistics(fresh: nil) }
        )
    }

    /// How many bytes are received from a worker at once.
    ///
    /// ``receivesPerTurn`` is how often this is done in one turn, so that other workers get their turn too.
    private static let receiveSize = 65536
    private static let receivesPerTurn = 16

    func linkReady(_ worker: WorkerProcess?, _ event: EventLoop.Event) {
        guard let worker, let process = worker.process else { return }
        if event.isReadable, !receive(from: worker, most: Self.receivesPerTurn) {
            // The pidfd will report the end of the process; do not spin until then.
            loop.deregister(process.link)
        }
    }

    /// Receives messages from a worker; false at the end of the stream.
    @discardableResult
    func receive(from worker: WorkerProcess, most: Int = .max) -> Bool {
        for _ in 0..<most {
            guard let process = worker.process else { return false }
            let outcome = StreamSocket.receive(process.link, appendingTo: &process.stream.input, room: Self.receiveSize)
            guard case .moved(let count) = outcome else { return outcome == .wouldBlock }
            do throws(WireError) {
                while let frame = try process.stream.next() { try told(frame, by: worker) }
            } catch {
                log.error("A worker sent an invalid frame", metadata: metadata(worker, ["error": "\(error)"]))
                worker.end("it sent a frame that cannot be read")
                return false
            }
            if count < Self.receiveSize { return true }
        }
        return true
    }

    /// Returns true if a worker may send such a message.
    ///
    /// Only the owner of a shard may speak for it; other workers may say that they are ready, or what they have taken.
    private func mayBeSaid(_ kind: PeerKind, by worker: WorkerProcess) -> Bool {
        let isOwner = roster.isOwner(worker)
        return switch kind {
        case .reply, .rooms, .frozen: isOwner
        // Once each time that it takes over a shard, or meets another supervisor.
        case .recovered, .allRooms: isOwner && worker.custody.owesRecovery
        case .ready: worker.lifecycle.shardState == .starting || worker.custody.state == .unconfirmed
        case .collected: isOwner || worker.donor != nil || scaling?.number(of: worker) != nil
        default: true
        }
    }

    private func told(_ frame: PeerStream.Frame, by worker: WorkerProcess) throws(WireError) {
        guard let input = worker.process?.stream.input, mayBeSaid(frame.header.kind, by: worker) else { return }
        switch frame.header.kind {
        case .command: unsafe switchboard.command(frame, from: worker, now: loop.now)
        case .reply: switchboard.reply(frame, from: worker)
        case .ready: becameReady(worker)
        case .alive:
            unsafe worker.lifecycle.saidAlive(at: loop.now)
            guard case .shard(let statistics) = try CommandCoding.decodeReply(input, in: frame.payload) else {
                throw .unknownValue
            }
            worker.process?.reported = statistics
        case .log:
            let line = try LogLine(input, in: frame.payload)
            guard unsafe worker.mayLog(now: loop.now) else { return }
            var metadata: Logger.Metadata = [:]
            for field in line.fields { metadata[field.name] = "\(field.value)" }
            metadata["shard"] = "\(worker.shard)"
            workerLog.log(level: line.level, "\(line.message)", metadata: metadata)
        case .rooms:
            let changes = try RoomChanges(input, in: frame.payload)
            switchboard.note(changes, from: worker, correlation: frame.header.correlation)
        case .allRooms:
            let rooms = try RoomChanges(input, in: frame.payload)
            switchboard.noteAll(rooms, from: worker, missing: frame.header.correlation)
        case .collected: collected(try Adoption(input, in: frame.payload), worker)
        case .frozen:
            if scaling == nil {
                continueHandover(worker, .donorFrozen)
            } else {
                continueScaling(.donorFrozen(worker.shard))
            }
        case .recovered: recovered(try Adoption(input, in: frame.payload), worker)
        case .stop, .shardStates, .roomsNoted, .collect, .awaitCopies, .commit, .freeze, .thaw, .retire:
            throw .unknownValue
        }
    }
}
