internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// What the supervisor says, and the end.

extension Worker {
    func linkReady(_ event: EventLoop.Event, _ manager: isolated WebSocketManager) {
        if event.isWritable { link.flush() }
        guard event.isReadable else { return }
        link.receive { frame in
            do throws(WireError) {
                try heard(frame, manager)
            } catch {
                log.error("Cannot read a frame of the supervisor", metadata: ["kind": "\(frame.header.kind)"])
            }
        }
    }

    private func heard(_ frame: PeerStream.Frame, _ manager: isolated WebSocketManager) throws(WireError) {
        let input = link.input
        switch frame.header.kind {
        case .stop: beginStopping(manager)
        case .shardStates: router.update(try ShardStates(input, in: frame.payload))
        case .roomsNoted: shard.roomsNoted(frame.header.correlation)
        case .command:
            let (request, textStart) = try CommandCoding.decode(input, in: frame.payload)
            let text = textStart..<frame.payload.upperBound
            let reply =
                request.command == .batch
                ? try carryOutBatch(input, text, manager)
                : execute(request, input.span.extracting(text), manager)
            link.reply(CommandCoding.encode(reply), to: frame.header)
        case .reply:
            guard let asker = unsafe router.asker(of: frame.header.correlation, now: loop.now) else { return }
            answer(asker, (try? CommandCoding.decodeReply(input, in: frame.payload)) ?? .failed(.malformed))
        case .ready, .alive, .log, .rooms: break
        }
    }

    /// The publishes of another shard's batch that are for us.
    private func carryOutBatch(
        _ input: [UInt8],
        _ range: Range<Int>,
        _ manager: isolated WebSocketManager
    ) throws(WireError) -> CommandReply {
        var replies: [CommandReply] = []
        try BatchCoding.forEach(in: input, range) { request, text in
            replies.append(shard.execute(request, text: input.span.extracting(text), on: manager))
        }
        return .batch(replies)
    }

    /// Closes everybody with 1001 and exits when they have answered, or when their time is over.
    func beginStopping(_ manager: isolated WebSocketManager) {
        guard !isStopping else { return }
        isStopping = true
        door.beginStopping()
        manager.disconnectAll(.goingAway)
        sockets.closeAll(.goingAway)
        sockets.flushDirty()
        loop.setTimer(after: contract.timing.stopTimeout, token: Token.timer(.stopDeadline).rawValue)
    }
}
