// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// What workers are told: queued during a turn, and written at its end.

extension Supervisor {
    func tell(_ worker: WorkerProcess, _ kind: PeerKind, _ payload: [UInt8] = []) {
        let header = PeerHeader(
            kind: kind,
            source: PeerAddress.supervisor,
            destination: UInt16(worker.shard),
            payloadLength: payload.count
        )
        worker.process?.stream.append(header, payload)
    }

    /// Tells every worker the state of every shard.
    func announceStates() {
        notes.changed()
        let payload = ShardStates(workers.map(\.state)).bytes
        for worker in workers + others where worker.isServing {
            let header = PeerHeader(
                kind: .shardStates,
                source: PeerAddress.supervisor,
                destination: UInt16(worker.shard),
                payloadLength: payload.count
            )
            worker.process?.stream.append(header, payload)
        }
    }

    /// Writes what this turn queued for the workers.
    func flush() {
        for worker in workers + others {
            guard let process = worker.process else { continue }
            flushLink(process, tag: worker.tag)
            // A worker asks no more than it has room for, and is sent no more than it reads.
            if process.isDeaf { process.end("it does not read what it is told") }
            process.post.flush()
            guard process.post.wantsToWrite != process.watchesPostWritable else { continue }
            process.watchesPostWritable = process.post.wantsToWrite
            let interest: EventLoop.Interest = process.watchesPostWritable ? [.readable, .writable] : .readable
            try? loop.modify(process.post.descriptor, token: Source.post.token(worker.tag), interest: interest)
        }
    }

    private func flushLink(_ process: RunningWorker, tag: Int) {
        var isBlocked = false
        while process.stream.queuedBytes > 0, !isBlocked {
            switch process.sendQueued() {
            case .moved(let count): process.stream.didSend(count)
            case .wouldBlock: isBlocked = true
            case .ended, .failed: return  // its end is learned from the process
            }
        }
        guard isBlocked != process.watchesLinkWritable else { return }
        process.watchesLinkWritable = isBlocked
        let interest: EventLoop.Interest = isBlocked ? [.readable, .writable] : .readable
        try? loop.modify(process.link, token: Source.link.token(tag), interest: interest)
    }
}

extension RunningWorker {
    /// Writes the frames that wait, as far as the link takes them.
    func sendQueued() -> StreamOutcome {
        // The bytes are held only while they are written, so that the stream can drop them in place.
        let output = stream.output
        return StreamSocket.send(link, output.span.extracting(stream.outputStart...))
    }
}
