// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// A listening socket that somebody has shut down, which ends accepting for all its holders, listens again.
@Suite(.serialized) struct ListenersAreHealedTests {
    /// Shuts down a socket, as any process that holds it could do.
    private static func shutDown(_ place: String, of server: TestServer) async throws {
        let run = try await Subprocess.run(
            "/usr/bin/python3",
            [WebSocketClients.script("shut_listener.py"), "\(server.process.pid)", place]
        )
        try #require(run.output == "shut down\n", "\(run.error)")
    }

    @Test func `clients and backends connect again, over TCP, on the same ports`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("before", server.webSocket("before"))])
            for address in [server.client, server.api] {
                let port = String(address.split(separator: ":").last ?? "")
                for round in 1...3 {
                    try await Self.shutDown(port, of: server)
                    try await server.process.lines.wait("healing of \(port), \(round)") { lines in
                        lines.count { $0.text.contains("was shut down, and listens again") } >= round
                            + (address == server.api ? 3 : 0)
                    }
                }
            }
            // Workers that have noticed the end pause for 100 ms.
            for number in 0..<20 { try await clients.open([("\(number)", server.webSocket("user-\(number)"))]) }
            #expect(try await server.publish("1", toUser: "before") == .init(matched: 1, delivered: 1))
            #expect(try await clients.messages("before", count: 1) == ["1"])
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test func `backends connect again over a Unix socket, to new workers, and nobody is dropped`() async throws {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-api-\(UUID().uuidString.prefix(8)).sock"
        try await TestServer.with(environment: ["MARTLET_API_LISTEN": "unix:\(path)"]) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            try await Self.shutDown(path, of: server)
            try await server.process.lines.wait("another socket") { lines in
                lines.contains { $0.text.contains("another one listens in its place") }
            }
            #expect(try await server.publish("1", toUser: "alice") == .init(matched: 1, delivered: 1))
            #expect(try await clients.messages("a", count: 1) == ["1"])
            try await server.waitForStatistics("other workers") { $0.shards.allSatisfy { $0.generation == 2 } }
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }
}
