// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import NIOCore

/// One socket of a ``ProxyLine``.
final class ProxyEnd: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let side: ProxyLine.Side
    private let line: ProxyLine
    private var context: ChannelHandlerContext?

    init(_ side: ProxyLine.Side, of line: ProxyLine) {
        self.side = side
        self.line = line
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        line.began(self, port: context.channel.remoteAddress?.port ?? 0)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { line.arrived(from: side, unwrapInboundIn(data)) }

    func channelInactive(context: ChannelHandlerContext) { line.ended(self) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func write(_ bytes: ByteBuffer) { context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil) }

    /// Sets whether bytes are taken out of the socket.
    func setReading(_ isReading: Bool) {
        guard let context else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: isReading)
        if isReading { context.read() }
    }

    func reset() { context?.channel.reset() }

    func end() { context?.close(promise: nil) }

    /// Ends the socket when all was sent.
    func endAfterWrites() {
        guard let context else { return }
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in channel.close(promise: nil) }
    }
}

extension Channel {
    /// Closes a socket in such a way that the peer gets a reset.
    func reset() {
        if let provider = self as? any SocketOptionProvider {
            // On the channel's loop this is done when it returns; if it fails, the peer gets an end of file.
            _ = provider.setSoLinger(linger(l_onoff: 1, l_linger: 0))
        }
        close(promise: nil)
    }
}
