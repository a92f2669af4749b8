// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// Messages of the supervisor, and the end of the worker.

extension Worker {
    /// Does what a frame of the supervisor says; one that cannot be read is logged.
    func told(_ frame: PeerStream.Frame, _ manager: isolated WebSocketManager) {
        do throws(WireError) {
            try read(frame, manager)
        } catch {
            log.error("Cannot read a frame from the supervisor", metadata: ["kind": "\(frame.header.kind)"])
        }
    }

    private func read(_ frame: PeerStream.Frame, _ manager: isolated WebSocketManager) throws(WireError) {
        let input = link.input
        switch frame.header.kind {
        case .stop: beginStopping(manager)
        case .shardStates: router.update(try ShardStates(input, in: frame.payload))
        case .roomsNoted: shard.roomsNoted(frame.header.correlation)
        case .command: try commanded(frame.header, input, frame.payload, manager)
        case .collect:
            Fault.at(.collect)
            let found = try collect(input, frame.payload)
            Fault.at(.collected)
            link.send(.collected, found.bytes)
            if let gathering {
                // Another new worker is waiting for the same previous worker.
                link.flush()
                gathering.copy(into: shard.record)
            }
        case .awaitCopies: if let gathering { link.send(.collected, gathering.outcome.bytes) }
        case .commit: takeOver(manager)
        case .freeze: if phase == .serving { phase = .freezing }
        case .thaw: thaw(manager)
        case .retire: retire()
        case .reply:
            guard let asker = unsafe router.asker(of: frame.header.correlation, now: loop.now) else { return }
            answer(asker, (try? CommandCoding.decodeReply(input, in: frame.payload)) ?? .failed(.malformed))
        case .ready, .alive, .log, .rooms, .allRooms, .collected, .recovered, .frozen: break
        }
    }

    /// Collects the sockets of the previous worker, or of the one of several that the payload names.
    private func collect(_ input: [UInt8], _ payload: Range<Int>) throws(WireError) -> Adoption {
        guard let gathering else { return inheritance?.collect() ?? Adoption() }
        var reader = ByteReader(input, in: payload)
        return gathering.collect(from: Int(try reader.integer(UInt16.self)))
    }

    /// Carries out a request of another process, unless the previous worker has already done so.
    private func commanded(
        _ header: PeerHeader,
        _ input: [UInt8],
        _ payload: Range<Int>,
        _ manager: isolated WebSocketManager
    ) throws(WireError) {
        if let known = shard.record.answer(to: header) { return link.reply(known, to: header) }
        let (request, textStart) = try CommandCoding.decode(input, in: payload)
        let text = textStart..<payload.upperBound
        if request.command == .batch {
            return link.reply(try carryOutBatch(header, input, text, manager), to: header)
        }
        let span = input.span.extracting(text)
        let reply =
            request.command.isRemembered
            ? shard.execute(request, text: span, for: header, on: manager) : executeHere(request, span, manager)
        link.reply(CommandCoding.encode(reply), to: header)
    }

    /// Carries out the publishes of another shard's batch that are for us, and returns the encoded reply.
    private func carryOutBatch(
        _ header: PeerHeader,
        _ input: [UInt8],
        _ range: Range<Int>,
        _ manager: isolated WebSocketManager
    ) throws(WireError) -> [UInt8] {
        var replies = shard.record.beginBatch(header)
        var number = 0
        var isBlamed = shard.isBlamed(header)
        try BatchCoding.forEach(in: input, range) { request, text in
            defer { number += 1 }
            // The previous worker has done these.
            if number < replies.count { return }
            if isBlamed {
                // This is the publish that has ended workers.
                isBlamed = false
                replies.append(shard.refuse { self.shard.record.noteBatch($0, at: number) })
                _ = shard.isBlamed(header)
                return
            }
            replies.append(
                shard.execute(request, text: input.span.extracting(text), on: manager) { reply in
                    self.shard.record.noteBatch(reply, at: number)
                }
            )
        }
        let reply = CommandCoding.encode(.batch(replies))
        shard.record.endBatch(header, reply)
        return reply
    }

    /// Closes all connections with 1001, and exits when the clients have answered or their time is over.
    func beginStopping(_ manager: isolated WebSocketManager) {
        guard !isStopping else { return }
        isStopping = true
        inheritance = nil
        gathering = nil
        door.beginStopping()
        if phase != .retired {
            thaw(manager)
            manager.disconnectAll(.goingAway)
            sockets.closeAll(.goingAway)
            sockets.flushDirty()
        }
        loop.setTimer(after: contract.timing.stopTimeout, token: EventToken.timer(.stopDeadline).rawValue)
    }
}
