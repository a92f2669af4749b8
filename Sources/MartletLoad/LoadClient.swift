internal import NIOCore
internal import NIOPosix
internal import NIOWebSocket

/// One WebSocket connection of the load, on NIO's own codec.
///
/// Lives on its channel's event loop.
final class LoadClient: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    let number: Int
    /// Messages that follow the greeting.
    private let onMessage: (LoadClient, ByteBuffer) -> Void
    private let onEnd: (LoadClient) -> Void
    private var context: ChannelHandlerContext?
    /// The number that the next message must carry.
    var expected = 0
    private(set) var hasEnded = false
    var isWanted = true

    init(
        number: Int,
        onMessage: @escaping (LoadClient, ByteBuffer) -> Void,
        onEnd: @escaping (LoadClient) -> Void
    ) {
        self.number = number
        self.onMessage = onMessage
        self.onEnd = onEnd
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.opcode {
        case .text, .binary: onMessage(self, frame.unmaskedData)
        case .ping: write(.pong, frame.unmaskedData)
        case .connectionClose:
            write(.connectionClose, frame.unmaskedData)
            context.close(promise: nil)
        default: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        hasEnded = true
        onEnd(self)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func send(_ payload: ByteBuffer) { write(.text, payload) }

    /// Sends a message in pieces: fragments, or parts of one frame, whatever the pieces are.
    func send(raw bytes: ByteBuffer) {
        guard let context,
            let encoder = try? context.pipeline.syncOperations.context(handlerType: WebSocketFrameEncoder.self)
        else { return }
        // Past the encoder: these are a frame's bytes already.
        encoder.writeAndFlush(NIOAny(bytes), promise: nil)
    }

    /// Whether it takes what the server sends.
    func setReading(_ isReading: Bool) {
        guard let context else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: isReading)
        if isReading { context.read() }
    }

    func close() {
        isWanted = false
        context?.close(promise: nil)
    }

    private func write(_ opcode: WebSocketOpcode, _ payload: ByteBuffer) {
        guard let context else { return }
        let frame = WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: payload)
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
    }
}

/// Performs the opening handshake, then gives the connection to a ``LoadClient``.
///
/// NIO's upgrader builds seven handlers for each connection; a load generator must be lighter than what it loads, so the
/// answer's head is read here. It must be a 101; its accept value is left to the tests of the server.
final class HandshakeHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    struct Refused: Error, CustomStringConvertible {
        let description: String
    }

    private let request: ByteBuffer
    private let client: LoadClient
    private let done: EventLoopPromise<Void>
    private var head = ByteBuffer()

    init(request: ByteBuffer, client: LoadClient, done: EventLoopPromise<Void>) {
        self.request = request
        self.client = client
        self.done = done
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(request), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var piece = unwrapInboundIn(data)
        head.writeBuffer(&piece)
        guard let end = head.readableBytesView.firstRange(of: [13, 10, 13, 10])?.upperBound else { return }
        let text = head.readString(length: end - head.readerIndex) ?? ""
        guard text.hasPrefix("HTTP/1.1 101 ") else {
            done.fail(Refused(description: String(text.prefix { $0 != "\r\n" })))
            context.close(promise: nil)
            return
        }
        do {
            let pipeline = context.pipeline.syncOperations
            let decoder = WebSocketFrameDecoder(maxFrameSize: 16 * 1024 * 1024)
            try pipeline.addHandler(ByteToMessageHandler(decoder))
            try pipeline.addHandler(WebSocketFrameEncoder(), position: .first)
            try pipeline.addHandler(client)
            let rest = head
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
            done.succeed()
            if rest.readableBytes > 0 { pipeline.fireChannelRead(NIOAny(rest)) }
        } catch {
            done.fail(error)
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        done.fail(Refused(description: "closed during the handshake"))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        done.fail(error)
        context.close(promise: nil)
    }
}
