internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The worker's end of the words to and from its supervisor: frames are batched in both directions, once a turn.
final class Link {
    /// The supervisor is gone, or speaks nonsense: the worker cannot go on.
    private(set) var isBroken = false
    private let descriptor: Int32
    private let loop: EventLoop
    private let token = Token(.link).rawValue
    private let shard: UInt16
    private let bound: Int
    private var stream = PeerStream()
    private var watchesWritable = false

    /// `bound`: bytes that may wait for the supervisor before requests are refused.
    init(descriptor: Int32, shard: UInt16, bound: Int, loop: EventLoop) throws(SystemCallError) {
        self.descriptor = descriptor
        self.shard = shard
        self.bound = bound
        self.loop = loop
        try loop.register(descriptor, token: token, interest: .readable)
    }

    /// True while the supervisor reads too slowly for more requests.
    var isFull: Bool { stream.queuedBytes > bound }

    func send(_ kind: PeerKind, _ payload: [UInt8] = [], correlation: UInt64 = 0) {
        let header = PeerHeader(
            kind: kind,
            source: shard,
            destination: PeerAddress.supervisor,
            correlation: correlation,
            payloadLength: payload.count
        )
        stream.append(header, payload)
    }

    /// Sends a request to another shard, or to all; its text is copied once, to here.
    func request(
        _ command: [UInt8],
        text: Span<UInt8>,
        to destination: UInt16,
        correlation: UInt64,
        mapGeneration: UInt32
    ) {
        let header = PeerHeader(
            kind: .command,
            source: shard,
            destination: destination,
            correlation: correlation,
            mapGeneration: mapGeneration,
            payloadLength: command.count + text.count
        )
        stream.append(header, command, text: text)
    }

    func reply(_ reply: [UInt8], to request: PeerHeader) {
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

    /// Receives, and hands over each frame with its payload's place in ``input``.
    func receive(_ onFrame: (PeerStream.Frame) -> Void) {
        switch StreamSocket.receive(descriptor, appendingTo: &stream.input, room: 65536) {
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

    /// An end of file would be reported for ever.
    private func endWatching() {
        isBroken = true
        loop.deregister(descriptor)
    }

    /// What was received; a frame's payload lies in it during ``receive(_:)``.
    var input: [UInt8] { stream.input }

    /// Writes what this turn queued.
    func flush() {
        while stream.queuedBytes > 0, !isBroken {
            switch StreamSocket.send(descriptor, stream.output.span.extracting(stream.outputStart...)) {
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
