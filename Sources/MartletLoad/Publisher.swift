// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOPosix

/// Posts to the server's API over one persistent connection, with pipelining, and reads the answers in order.
final class Publisher: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let api: API
    private var context: ChannelHandlerContext?
    private var received = ByteBuffer()
    private var waiting: [(Int, String) -> Void] = []
    private var waitingStart = 0
    private(set) var failure: String?
    /// Whether the server has said that it ends the connection after this answer.
    private(set) var isEnding = false

    private init(_ api: API) { self.api = api }

    /// Connects; the future succeeds with a publisher that belongs to `loop`.
    static func connect(to api: API, on loop: any EventLoop) -> EventLoopFuture<NIOLoopBound<Publisher>> {
        loop.flatSubmit {
            let publisher = NIOLoopBound(Publisher(api), eventLoop: loop)
            return ClientBootstrap(group: loop)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(publisher.value)
                    }
                }
                .connect(host: api.host, port: api.port)
                .map { _ in publisher }
        }
    }

    /// Posts a body; calls `onAnswer` with the status and the body of the answer.
    ///
    /// `fields` are further lines of the head, each with its line end.
    func post(
        _ path: String,
        _ body: ByteBuffer,
        fields: String = "",
        _ onAnswer: @escaping (Int, String) -> Void
    ) {
        request("POST", path, body, fields: fields, onAnswer)
    }

    func close() { context?.close(promise: nil) }

    func get(_ path: String, _ onAnswer: @escaping (Int, String) -> Void) {
        request("GET", path, nil, fields: "", onAnswer)
    }

    private func request(
        _ method: String,
        _ path: String,
        _ body: ByteBuffer?,
        fields: String,
        _ onAnswer: @escaping (Int, String) -> Void
    ) {
        guard let context, failure == nil else {
            onAnswer(0, failure ?? "not connected")
            return
        }
        waiting.append(onAnswer)
        var bytes = context.channel.allocator.buffer(capacity: 256 + (body?.readableBytes ?? 0))
        bytes.writeString("\(method) \(path) HTTP/1.1\r\n\(api.fields)\(fields)")
        if let body {
            bytes.writeString("Content-Type: application/json\r\nContent-Length: \(body.readableBytes)\r\n\r\n")
            bytes.writeImmutableBuffer(body)
        } else {
            bytes.writeString("\r\n")
        }
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var piece = unwrapInboundIn(data)
        received.writeBuffer(&piece)
        while let (status, body) = nextAnswer(), waitingStart < waiting.count {
            let onAnswer = waiting[waitingStart]
            waitingStart += 1
            if waitingStart > 1024 {
                waiting.removeFirst(waitingStart)
                waitingStart = 0
            }
            onAnswer(status, body)
        }
    }

    private func nextAnswer() -> (Int, String)? {
        let view = received.readableBytesView
        guard let headEnd = view.firstRange(of: [13, 10, 13, 10])?.upperBound else { return nil }
        let head = String(decoding: view[..<headEnd], as: UTF8.self)
        let lines = head.split(separator: "\r\n")
        let status = lines.first.flatMap { Int($0.dropFirst(9).prefix(3)) } ?? 0
        let field = lines.first { $0.lowercased().hasPrefix("content-length:") }
        let length = field.flatMap { Int($0.dropFirst(15).filter(\.isNumber)) } ?? 0
        if lines.contains(where: { $0.lowercased() == "connection: close" }) { isEnding = true }
        let headLength = headEnd - received.readerIndex
        guard received.readableBytes >= headLength + length else { return nil }
        received.moveReaderIndex(forwardBy: headLength)
        let body = received.readString(length: length) ?? ""
        received.discardReadBytes()
        return (status, body)
    }

    func channelInactive(context: ChannelHandlerContext) { fail("the server closed the API connection") }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail("\(error)")
        context.close(promise: nil)
    }

    private func fail(_ why: String) {
        failure = failure ?? why
        let askers = waiting[waitingStart...]
        waiting = []
        waitingStart = 0
        for asker in askers { asker(0, why) }
    }
}
