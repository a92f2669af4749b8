// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOPosix

/// A TCP proxy between sessions and the server that behaves like the worst of networks.
///
/// It listens on loopback, and lives on its loop. By itself it delays some answers to clients that resume a session, and
/// drops others; everything else it does to a ``ProxyLine`` when it is told to.
final class Proxy {
    /// What happens to the answer to a client that resumes.
    enum Fate {
        case passed
        case delayed(TimeAmount)
        /// It never arrives, and the connection is reset.
        case dropped
    }

    private let host: String
    private let port: Int
    private let loop: any EventLoop
    /// Whether a client's socket may be cut while its request is on the way, so that the request comes late.
    ///
    /// A server that handles a client's earlier request after a later one gives the session to a client that has gone.
    let cutsHandshakes: Bool
    private var channel: (any Channel)?
    /// The lines whose client is there, by the client's port.
    private var lines: [Int: ProxyLine] = [:]
    /// Whether everything passes, at once.
    private(set) var isCalm = true
    private(set) var delayed = 0
    private(set) var dropped = 0

    /// Makes a proxy for the server at this address.
    init(host: String, port: Int, cutsHandshakes: Bool, on loop: any EventLoop) {
        self.cutsHandshakes = cutsHandshakes
        self.host = host
        self.port = port
        self.loop = loop
    }

    /// Listens; the future succeeds with the port.
    func open() -> EventLoopFuture<Int> {
        let bound = NIOLoopBound(self, eventLoop: loop)
        return ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: 4096)
            // A line reads when the server is there.
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let line = ProxyLine(bound.value, on: channel.eventLoop)
                    try channel.pipeline.syncOperations.addHandler(ProxyEnd(.client, of: line))
                }
            }
            .bind(host: "127.0.0.1", port: 0)
            .map { channel in
                bound.value.channel = channel
                return channel.localAddress?.port ?? 0
            }
    }

    /// Lets everything pass, or begins to disturb.
    func setCalm(_ isCalm: Bool) {
        self.isCalm = isCalm
        if isCalm { for line in lines.values { line.release() } }
    }

    func close() { channel?.close(promise: nil) }

    /// Returns the line of the client with this port.
    func line(_ clientPort: Int) -> ProxyLine? { lines[clientPort] }

    func add(_ line: ProxyLine, _ clientPort: Int) { lines[clientPort] = line }

    func remove(_ line: ProxyLine, _ clientPort: Int) {
        if lines[clientPort] === line { lines[clientPort] = nil }
    }

    /// Connects a line with the server.
    func connect(_ line: ProxyLine) {
        let bound = NIOLoopBound(line, eventLoop: loop)
        ClientBootstrap(group: loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ProxyEnd(.server, of: bound.value))
                }
            }
            .connect(host: host, port: port)
            .whenFailure { _ in bound.value.cut(.reset) }
    }

    /// Decides whether a request to resume comes only after its client has gone.
    func isNextLate() -> Bool { cutsHandshakes && !isCalm && Int.random(in: 0..<10) == 0 }

    /// Decides what happens to an answer.
    func nextFate(isResume: Bool, isDoomed: Bool) -> Fate {
        if isCalm || !(isResume || isDoomed) { return .passed }
        switch isDoomed ? 3 : Int.random(in: 0..<20) {
        case 0..<3:
            delayed += 1
            return .delayed(.milliseconds(.random(in: 50...700)))
        case 3..<5:
            dropped += 1
            return .dropped
        default: return .passed
        }
    }
}
