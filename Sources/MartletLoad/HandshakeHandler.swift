// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOPosix
internal import NIOWebSocket

/// Performs the opening handshake, then gives the connection to a ``LoadClient``.
///
/// NIO's upgrader builds seven handlers for each connection. A load generator must be lighter than the server that it
/// loads, so the answer's head is read here. It must be a 101; its accept value is checked only by the tests of the
/// server.
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
