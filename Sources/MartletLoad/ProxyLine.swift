// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// One connection through the proxy: a client's socket, and one to the server.
///
/// After the client's socket has gone, the other one may stay for a while, so that the server takes it for alive; and
/// what the client had sent may come late.
final class ProxyLine {
    enum Side {
        case client, server
    }

    enum Cut: CaseIterable {
        /// Both sockets are reset.
        case reset
        /// The client's socket is reset; the server does not learn of it for a while.
        case resetClient
        /// Both sockets end without a WebSocket close.
        case end
        /// Nothing passes for a while, in one direction or both.
        case stallToServer, stallToClient, stall
    }

    private static let stallTime: ClosedRange<Int64> = 100...1500
    private static let afterlife: ClosedRange<Int64> = 20...2500

    /// What goes to one side.
    private struct Direction {
        var isStalled = false
        var held = ByteBuffer()
    }

    private let proxy: Proxy
    private let loop: any EventLoop
    private var clientPort = 0
    private var client: ProxyEnd?
    private var server: ProxyEnd?
    private var toClient = Direction()
    private var toServer = Direction()
    private var request = ByteBuffer()
    private var hasAsked = false
    private var isResume = false
    private var hasAnswer = false
    /// Whether it is to be cut when the server has answered.
    private var isDoomed = false
    /// Raised when a stall no longer matters, so that its timer finds that out.
    private var stallNumber = 0

    init(_ proxy: Proxy, on loop: any EventLoop) {
        self.proxy = proxy
        self.loop = loop
    }

    // MARK: What happens at its ends

    /// A socket is there: the client's first.
    func began(_ end: ProxyEnd, port: Int) {
        switch end.side {
        case .client:
            client = end
            clientPort = port
            proxy.add(self, port)
            proxy.connect(self)
        case .server:
            server = end
            guard let client else { return end.reset() }
            client.setReading(true)
        }
    }

    func arrived(from side: Side, _ bytes: ByteBuffer) {
        var bytes = bytes
        switch side {
        case .client:
            if hasAsked { return pass(bytes, to: .server) }
            request.writeBuffer(&bytes)
            guard request.readableBytesView.firstRange(of: [13, 10, 13, 10]) != nil else { return }
            hasAsked = true
            isResume = request.readableBytesView.firstRange(of: Array("martlet, resume.".utf8)) != nil
            isResume = isResume && request.readableBytesView.firstRange(of: Array("resume.new".utf8)) == nil
            if isResume, proxy.isNextLate() {
                toServer.held = request
                cut(.resetClient)
            } else {
                pass(request, to: .server)
            }
        case .server:
            if !hasAnswer {
                hasAnswer = true
                switch proxy.nextFate(isResume: isResume, isDoomed: isDoomed) {
                case .passed: break
                case .delayed(let time): stall(toServer: false, toClient: true, for: time)
                case .dropped:
                    cut(Bool.random() ? .reset : .resetClient)
                    return
                }
            }
            pass(bytes, to: .client)
        }
    }

    /// A socket has ended, although the line was not cut.
    func ended(_ end: ProxyEnd) {
        if end === client {
            forgetClient()
            guard let server else { return }
            if proxy.isCalm {
                server.endAfterWrites()
            } else if Bool.random() {
                self.server = nil
                server.reset()
            } else {
                outlive()
            }
        } else if end === server {
            server = nil
            if !toClient.isStalled { client?.endAfterWrites() }
        }
    }

    private func pass(_ bytes: ByteBuffer, to side: Side) {
        switch side {
        case .client:
            if toClient.isStalled { toClient.held.writeImmutableBuffer(bytes) } else { client?.write(bytes) }
        case .server:
            if toServer.isStalled { toServer.held.writeImmutableBuffer(bytes) } else { server?.write(bytes) }
        }
    }

    private func forgetClient() {
        client = nil
        proxy.remove(self, clientPort)
    }

    // MARK: What is done to it

    /// Cuts or stalls the line; returns whether the client will have to find out by itself.
    ///
    /// A line whose request was not answered yet is cut when it has been, unless the proxy cuts handshakes, too.
    @discardableResult
    func cut(_ cut: Cut) -> Bool {
        guard hasAnswer || !hasAsked || proxy.cutsHandshakes else {
            isDoomed = true
            return false
        }
        switch cut {
        case .reset, .end:
            let ends = [client, server]
            forgetClient()
            server = nil
            for end in ends { if cut == .reset { end?.reset() } else { end?.end() } }
        case .resetClient:
            let end = client
            forgetClient()
            end?.reset()
            outlive()
        case .stallToServer, .stallToClient, .stall:
            stall(
                toServer: cut != .stallToClient,
                toClient: cut != .stallToServer,
                for: .milliseconds(.random(in: Self.stallTime))
            )
            return true
        }
        return false
    }

    private func stall(toServer: Bool, toClient: Bool, for time: TimeAmount) {
        if toServer { self.toServer.isStalled = true }
        if toClient {
            self.toClient.isStalled = true
            // The server's own buffers fill, too.
            server?.setReading(false)
        }
        stallNumber += 1
        let number = stallNumber
        later(time) { $0.release(number) }
    }

    /// Lets everything pass that was held.
    func release() { release(stallNumber) }

    private func release(_ number: Int) {
        guard number == stallNumber else { return }
        stallNumber += 1
        let (forServer, forClient) = (toServer.held, toClient.held)
        (toServer, toClient) = (Direction(), Direction())
        if forServer.readableBytes > 0 { server?.write(forServer) }
        if forClient.readableBytes > 0 { client?.write(forClient) }
        if let server { server.setReading(true) } else { client?.endAfterWrites() }
    }

    /// Keeps the server's socket for a while after the client's has gone.
    private func outlive() {
        stallNumber += 1
        toServer.isStalled = true
        server?.setReading(Bool.random())
        later(.milliseconds(.random(in: Self.afterlife))) { line in
            guard let server = line.server else { return }
            // What the client had sent comes late, and perhaps not whole.
            var late = line.toServer.held
            let length = Bool.random() ? late.readableBytes : .random(in: 0...late.readableBytes)
            if let some = late.readSlice(length: length) { server.write(some) }
            line.server = nil
            if Bool.random() { server.reset() } else { server.endAfterWrites() }
        }
    }

    private func later(_ time: TimeAmount, _ then: @escaping (ProxyLine) -> Void) {
        let bound = NIOLoopBound((self, then), eventLoop: loop)
        loop.scheduleTask(in: time) { bound.value.1(bound.value.0) }
    }
}
