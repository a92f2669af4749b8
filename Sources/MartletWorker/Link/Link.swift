// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The worker's end of the stream to and from its supervisor: frames are batched in both directions, once a turn.
final class Link {
    /// Whether the supervisor is gone, or has sent something malformed.
    private(set) var isBroken = false
    private var descriptor: Int32
    private let loop: EventLoop
    private let token = EventToken(.link).rawValue
    private let shard: UInt16
    private let bound: Int
    private var stream = PeerStream()
    private let receiving = ReceiveBuffer(capacity: 65536)
    private var watchesWritable = false
    /// Log lines that wait for a supervisor.
    private var logLines: [[UInt8]] = []
    private static let mostLogLines = 1000

    /// Makes the link; `bound` is how many bytes may wait for the supervisor before requests are refused.
    init(descriptor: Int32, shard: UInt16, bound: Int, loop: EventLoop) throws(SystemCallError) {
        self.descriptor = descriptor
        self.shard = shard
        self.bound = bound
        self.loop = loop
        try loop.register(descriptor, token: token, interest: .readable)
    }

    /// True while the supervisor reads too slowly for more requests.
    var isFull: Bool { stream.queuedBytes > bound }

    /// Goes on with another supervisor; whatever was on its way to or from the previous one is lost.
    func reconnect(_ descriptor: Int32) throws(SystemCallError) {
        if !isBroken { loop.deregister(self.descriptor) }
        closeDescriptor(self.descriptor)
        self.descriptor = descriptor
        let lines = logLines
        (stream, logLines) = (PeerStream(), [])
        isBroken = false
        watchesWritable = false
        try loop.register(descriptor, token: token, interest: .readable)
        for line in lines { send(.log, line) }
    }

    /// Queues a frame; without a supervisor only log lines are kept for the next one, which asks for the rest again.
    func send(_ kind: PeerKind, _ payload: [UInt8] = [], correlation: UInt64 = 0) {
        if isBroken {
            if kind == .log, logLines.count < Self.mostLogLines { logLines.append(payload) }
            return
        }
        let header = PeerHeader(
            kind: kind,
            source: shard,
            destination: PeerAddress.supervisor,
            correlation: correlation,
            payloadLength: payload.count
        )
        stream.append(header, payload)
    }

    /// Sends a request as a whole frame; without a supervisor the requester sends it again to the next one.
    func request(_ frame: [UInt8]) {
        if !isBroken { stream.append(frame) }
    }

    func reply(_ reply: [UInt8], to request: PeerHeader) {
        // The requester asks again, and finds it done.
        if isBroken { return }
        let reply = reply.count <= PeerHeader.largestPayload ? reply : CommandCoding.encode(.failed(.overloaded))
        let header = PeerHeader(
            kind: .reply,
            source: shard,
            destination: request.source,
            correlation: request.correlation,
            payloadLength: reply.count
        )
        stream.append(header, reply)
    }

    /// Receives bytes, and passes each frame to `onFrame` with the place of its payload in ``input``.
    func receive(_ onFrame: (PeerStream.Frame) -> Void) {
        switch receiving.receive(descriptor, appendingTo: &stream.input, room: 65536) {
        case .wouldBlock: return
        case .ended, .failed:
            endWatching()
            return
        case .moved: break
        }
        do throws(WireError) {
            while let frame = try stream.next() { onFrame(frame) }
        } catch {
            endWatching()
        }
    }

    /// Stops watching the socket, because an end of file would be reported forever.
    private func endWatching() {
        isBroken = true
        loop.deregister(descriptor)
    }

    /// The received bytes, in which a frame's payload lies during ``receive(_:)``.
    var input: [UInt8] { stream.input }

    /// Writes what this turn queued.
    func flush() {
        while stream.queuedBytes > 0, !isBroken {
            switch StreamSocket.send(descriptor, stream.output, from: stream.outputStart) {
            case .moved(let count): stream.didSend(count)
            case .wouldBlock:
                watchWritable(true)
                return
            case .ended, .failed: endWatching()
            }
        }
        watchWritable(false)
    }

    private func watchWritable(_ isOn: Bool) {
        guard watchesWritable != isOn, !isBroken else { return }
        watchesWritable = isOn
        try? loop.modify(descriptor, token: token, interest: isOn ? [.readable, .writable] : .readable)
    }
}
