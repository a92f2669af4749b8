// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOPosix
internal import NIOWebSocket

/// Opens many connections, a limited number at a time, on one event loop.
final class Crowd {
    struct Settings {
        var host: String
        var port: Int
        /// The path and query, in which `{user}` becomes the user's name.
        var path: String
        var count: Int
        var users: Int
        var concurrency: Int
        var tokens: Tokens
        /// Whether clients ask for sessions.
        var areSessions = false
        /// The number of the first connection.
        var first = 0
    }

    private let loop: any EventLoop
    private let settings: Settings
    private let onMessage: (LoadClient, ByteBuffer) -> Void
    private var started = 0
    private var finished = 0
    private var allDone: EventLoopPromise<Void>
    private(set) var clients: [LoadClient] = []
    private(set) var failures: [String: Int] = [:]
    /// How many connections ended although nobody asked for it.
    private(set) var dropped = 0
    /// How many connections have received their greeting.
    private(set) var greeted = 0

    init(_ settings: Settings, on loop: any EventLoop, onMessage: @escaping (LoadClient, ByteBuffer) -> Void) {
        self.settings = settings
        self.loop = loop
        self.onMessage = onMessage
        allDone = loop.makePromise(of: Void.self)
    }

    /// Returns the user that a connection belongs to.
    static func user(_ number: Int, of count: Int) -> String { "load-\(number % max(1, count))" }

    /// Opens all connections; the future succeeds when each is open or has failed.
    ///
    /// Call this on the loop.
    func open() -> EventLoopFuture<Void> {
        for _ in 0..<min(settings.concurrency, settings.count) { openNext() }
        if settings.count == 0 { allDone.succeed() }
        return allDone.futureResult
    }

    private func openNext() {
        guard started < settings.count else { return }
        let number = settings.first + started
        started += 1
        let client = LoadClient(number: number, confirms: settings.areSessions, onMessage: onMessage) { [weak self] in
            if $0.isWanted { self?.dropped += 1 }
        }
        let done = loop.makePromise(of: Void.self)
        let request = self.request(number)
        // The bootstrap needs Sendable closures; everything here stays on the loop on which they run.
        let parts = NIOLoopBound((self, client, done), eventLoop: loop)
        ClientBootstrap(group: loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 2048))
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (_, client, done) = parts.value
                    try channel.pipeline.syncOperations.addHandler(
                        HandshakeHandler(request: request, client: client, done: done)
                    )
                }
            }
            .connect(host: settings.host, port: settings.port)
            .whenFailure { parts.value.2.fail($0) }
        done.futureResult.whenComplete { result in
            let (crowd, client, _) = parts.value
            crowd.opened(client, result)
        }
    }

    private func opened(_ client: LoadClient, _ result: Result<Void, any Error>) {
        switch result {
        case .success: clients.append(client)
        case .failure(let error): failures["\(error)", default: 0] += 1
        }
        finished += 1
        if finished == settings.count { allDone.succeed() } else { openNext() }
    }

    private func request(_ number: Int) -> ByteBuffer {
        let user = Self.user(number, of: settings.users)
        let path = settings.path.split(separator: "{user}", omittingEmptySubsequences: false).joined(separator: user)
        return ByteBuffer(
            string: "GET \(path) HTTP/1.1\r\nHost: \(settings.host):\(settings.port)\r\nUpgrade: websocket\r\n"
                + "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \(Self.key())\r\n"
                + settings.tokens.field(for: user) + (settings.areSessions ? "Martlet-Resume: new\r\n\r\n" : "\r\n")
        )
    }

    /// Makes the base 64 of 16 random bytes: 21 free digits, one that ends in four zero bits, and the padding.
    static func key() -> String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var text = ""
        for _ in 0..<21 { text.append(digits[Int.random(in: 0..<64)]) }
        return text + "A=="
    }

    /// Ends every connection.
    func close() {
        for client in clients { client.close() }
    }
}
