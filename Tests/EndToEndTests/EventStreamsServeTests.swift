// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Where no WebSocket gets through, server-sent events do, and posts bring what the client has to say: the same messages,
/// rooms and sessions, as safe as over a WebSocket.
@Suite(.serialized) struct EventStreamsServeTests {
    private func run(_ scenario: String, _ server: TestServer, _ arguments: [String] = []) async throws {
        let script = WebSocketClients.script("event_streams.py")
        let run = try await Subprocess.run(
            WebSocketClients.python,
            [script, scenario, server.client, server.api] + arguments
        )
        try #require(run.code == 0, "\(run.output)\(run.error)")
    }

    @Test func `every text arrives over a stream, of its rooms too, and the stream ends with its reason`() async throws
    {
        try await TestServer.with { try await run("messages", $0) }
    }

    @Test func `what a client posts is handled once and in order, and whoever may not post changes nothing`()
        async throws
    {
        try await TestServer.with { try await run("posts", $0) }
    }

    @Test func `a session goes on over streams, WebSockets, and compressed ones, in any order`() async throws {
        try await TestServer.with { try await run("forms", $0) }
    }

    @Test func `heartbeats come as comments, and whoever acknowledges none is let go, and its session waits`()
        async throws
    {
        let environment = [
            "MARTLET_CLIENT_HEARTBEAT_INTERVAL": "1s", "MARTLET_CLIENT_HEARTBEAT_TIMEOUT": "3s",
            "MARTLET_CLIENT_QUEUE_BYTES": "16MiB", "MARTLET_CLIENT_RESUME_BYTES": "16MiB",
        ]
        try await TestServer.with(environment: environment) { server in
            let control = [TestServer.binaries + "/martletctl", server.controlSocket]
            try await run("heartbeats", server, ["100"] + control)
        }
    }

    @Test func `what was compressed is sent again as events, if that is not too much`() async throws {
        try await TestServer.with(environment: ["MARTLET_CLIENT_QUEUE_BYTES": "131072"]) {
            try await run("overflow", $0)
        }
    }

    @Test func `whoever posts slowly keeps nobody out`() async throws {
        let limits = [
            "MARTLET_LIMITS_HTTP_CONNECTIONS": "64", "MARTLET_LIMITS_BODY_BYTES": "4194304",
            "MARTLET_API_MAX_BODY_BYTES": "1048576",
        ]
        try await TestServer.withTokens(workers: 1, limits) { server in
            try await run("slow", server, [server.token("u"), server.token("w"), IdentityIsProvenTests.apiKey])
        }
    }

    @Test func `a stream that cannot go on after a restart is told so by an event`() async throws {
        let faults = Faults()
        try faults.plan("damage slot 0 0")
        defer { faults.remove() }
        try await TestServer.with(workers: 1, environment: ["MARTLET_FAULTS": faults.path]) { server in
            try await run("damaged", server, [TestServer.binaries + "/martletctl", server.controlSocket])
        }
    }

    @Test func `whoever sends on a stream of events is told that this makes no sense`() async throws {
        try await TestServer.with { try await run("talkers", $0) }
    }

    @Test func `a page learns by the status why it is not let in, unless its origin is not allowed`() async throws {
        try await TestServer.withTokens(["MARTLET_CLIENT_ALLOWED_ORIGINS": "https://*.example.com"]) { server in
            let tokens = try await [server.token("u"), server.token("w")]
            try await run("refusals", server, tokens + [IdentityIsProvenTests.secret, IdentityIsProvenTests.apiKey])
        }
    }

    @Test func `what would end a WebSocket ends a stream: messages that are too large or no text, and too many posts`()
        async throws
    {
        try await TestServer.with { try await run("endings", $0) }
    }

    @Test(arguments: ["kill", "trap"])
    func `a worker that ends while it handles what was posted leaves it to the next one, and each message counts once`(
        _ action: String
    ) async throws {
        let faults = Faults()
        try faults.plan("message \(action) 1 1 fatal")
        defer { faults.remove() }
        try await TestServer.with(environment: ["MARTLET_FAULTS": faults.path]) { try await run("crash", $0) }
    }

    @Test func `a posted message that ends worker after worker ends its connection only`() async throws {
        let faults = Faults()
        try faults.plan("message trap 0 1 poison")
        defer { faults.remove() }
        try await TestServer.with(environment: ["MARTLET_FAULTS": faults.path]) { try await run("poison", $0) }
    }

    @Test func `40 sessions over streams and WebSockets lose nothing, whatever breaks`() async throws {
        struct Report: Decodable {
            let published: Int
            let said: Int
            let held: Int
            let resumes: Int
            let streams: Int
            let wrong: [String]
        }
        try await TestServer.with { server in
            let script = WebSocketClients.script("event_stream_load.py")
            let clients = try Subprocess(WebSocketClients.python, [script, server.client, server.api, "40"])
            try await clients.lines.wait("40 sessions", seconds: 60) { $0.contains { $0.text == "ready" } }
            let orders = [
                ["restart", "--all"], ["kill"], ["scale", "3"], ["kill"], ["scale", "2"], ["upgrade"], ["reload"],
            ]
            try await server.undergo(orders + orders + orders)
            clients.write("")
            try await clients.lines.wait("a report", seconds: 120) { $0.contains { $0.text.hasPrefix("{") } }
            let text = await clients.lines.events.last { $0.text.hasPrefix("{") }?.text ?? ""
            let report = try TestServer.decode(Report.self, from: text)
            #expect(report.wrong == [], "\(report)")
            #expect(
                report.published > 100 && report.said > 100 && report.resumes > 20 && report.streams > 40,
                "\(report)"
            )
        }
    }
}
