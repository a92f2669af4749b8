// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOPosix
internal import NIOWebSocket

/// One WebSocket connection of the load generator, with NIO's own codec.
///
/// It lives on its channel's event loop.
final class LoadClient: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    let number: Int
    /// Called with each message after the greeting.
    private let onMessage: (LoadClient, ByteBuffer) -> Void
    private let onEnd: (LoadClient) -> Void
    private var context: ChannelHandlerContext?
    /// Whether it has a session, and confirms what it receives.
    private let confirms: Bool
    /// How many messages came after the greeting, which is -1 before it.
    private var received = -1
    private static let perConfirmation = 32
    /// The number that the next message must carry.
    var expected = 0
    private(set) var hasEnded = false
    /// The code with which the server has closed the connection.
    private(set) var closeCode: Int?
    var isWanted = true

    init(
        number: Int,
        confirms: Bool = false,
        onMessage: @escaping (LoadClient, ByteBuffer) -> Void,
        onEnd: @escaping (LoadClient) -> Void
    ) {
        self.number = number
        self.confirms = confirms
        self.onMessage = onMessage
        self.onEnd = onEnd
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.opcode {
        case .text, .binary:
            onMessage(self, frame.unmaskedData)
            if confirms { confirm() }
        case .ping: write(.pong, frame.unmaskedData)
        case .connectionClose:
            let reason = frame.unmaskedData
            closeCode = reason.getInteger(at: reason.readerIndex, as: UInt16.self).map(Int.init)
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

    private func confirm() {
        received += 1
        guard received > 0, received.isMultiple(of: Self.perConfirmation) else { return }
        send(ByteBuffer(string: "{\"type\":\"ack\",\"received\":\(received)}"))
    }

    func send(_ payload: ByteBuffer) { write(.text, payload) }

    /// Sends several messages in one write.
    func send(_ payloads: [ByteBuffer]) {
        for payload in payloads { write(.text, payload, flushes: false) }
        context?.flush()
    }

    /// Sends raw bytes, which may be a whole frame, a fragment of a message, or a part of a frame.
    func send(raw bytes: ByteBuffer) {
        guard let context,
            let encoder = try? context.pipeline.syncOperations.context(handlerType: WebSocketFrameEncoder.self)
        else { return }
        // This bypasses the encoder, because these are already a frame's bytes.
        encoder.writeAndFlush(NIOAny(bytes), promise: nil)
    }

    /// Sets whether the client reads what the server sends.
    func setReading(_ isReading: Bool) {
        guard let context else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: isReading)
        if isReading { context.read() }
    }

    func close() {
        isWanted = false
        context?.close(promise: nil)
    }

    /// Closes the WebSocket; the server closes the connection.
    func end() {
        isWanted = false
        write(.connectionClose, ByteBuffer(integer: UInt16(1000)))
    }

    private func write(_ opcode: WebSocketOpcode, _ payload: ByteBuffer, flushes: Bool = true) {
        guard let context else { return }
        let frame = WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: payload)
        context.write(wrapOutboundOut(frame), promise: nil)
        if flushes { context.flush() }
    }
}
