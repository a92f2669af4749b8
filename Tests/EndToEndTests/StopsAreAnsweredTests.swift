// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Whoever waits for a change is told when the service is stopped meanwhile, and the service ends all the same.
@Suite(.serialized) struct StopsAreAnsweredTests {
    @Test(arguments: [
        ("collect wait 2", ["restart", "--shard", "0"]), ("commit wait 2", ["restart", "--shard", "0"]),
        ("collect wait 2", ["restart", "--all"]), ("freeze wait 1", ["restart", "--all"]),
        ("collect wait 2", ["scale", "3"]), ("commit wait 2", ["scale", "3"]), ("freeze wait 1", ["scale", "3"]),
        ("collect wait 2", ["reload"]),
    ])
    func `in the middle of a change`(_ fault: String, _ command: [String]) async throws {
        let faults = Faults()
        try faults.plan(fault)
        defer { faults.remove() }
        try await TestServer.with(environment: ["MARTLET_FAULTS": faults.path]) { server in
            let clients = try WebSocketClients()
            try await clients.open([("u", server.webSocket("u"))])
            async let done = server.control(command)
            try await server.process.lines.wait("worker that waits") { lines in
                lines.contains { $0.text.contains("waits, as planned") }
            }
            server.process.signal(SIGTERM)
            let (code, _, error) = try await done
            #expect(code == 1 && error.contains("the service stops"), "\(error)")
            try faults.plan("")
            let end = try await server.process.waitForEnd()
            #expect(end == 0)
            try await clients.events.wait("end of the connection") { events in events.contains { $0.ev == "closed" } }
        }
    }
}
