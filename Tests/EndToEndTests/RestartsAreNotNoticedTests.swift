// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// A worker is replaced on request, again and again, and nobody notices; one that cannot be replaced goes on.
@Suite(.serialized) struct RestartsAreNotNoticedTests {
    @Test func `many restarts drop, lose, duplicate and reorder nothing, and every publish is answered`()
        async throws
    {
        try await TestServer.with { server in
            let report = try await Continuity.run(
                server,
                connections: 100,
                seconds: 8,
                every: 0.8,
                commands: ["restart --all"]
            )
            #expect(report.dropped == 0 && report.problems == [])
            // A request is only repeated if the old worker closed the connection after its previous answer.
            #expect(report.kills >= 3 && report.unicast > 100 && report.echo > 100)
            let shards = try await server.statistics().shards
            #expect(shards.allSatisfy { $0.restarts == report.kills && $0.lastRestart?.reason == "restart" })
            #expect(shards.allSatisfy { $0.lastRestart?.connectionsLost == 0 })
        }
    }

    @Test func `a lone shard is replaced with its threads`() async throws {
        try await TestServer.with(workers: 1) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice", "&thread_id=t"))])
            for round in 1...3 {
                let restart = try await server.control(["restart", "--shard", "0"])
                #expect(restart.code == 0 && restart.output.contains("Shard 0 has a new worker"))
                let answer = try await server.request("POST", "/v1/threads/t/messages", body: "\(round)")
                #expect(try answer.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1))
            }
            #expect(try await clients.messages("a", count: 3) == ["1", "2", "3"])
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test(arguments: [["restart", "--all"], ["scale", "1"]])
    func `clients that are taken over are pinged one after another, not all at once`(_ order: [String]) async throws {
        struct Report: Decodable { let clients: Int, moments: Int, spanMs: Int }
        let environment = ["MARTLET_CLIENT_HEARTBEAT_INTERVAL": "3s", "MARTLET_CLIENT_HEARTBEAT_TIMEOUT": "3s"]
        try await TestServer.with(environment: environment) { server in
            let script = WebSocketClients.script("pings.py")
            let clients = try Subprocess("/usr/bin/python3", [script, server.client, "100"])
            try await clients.lines.wait("a hundred clients") { !$0.isEmpty }
            #expect(try await server.control(order).code == 0)
            clients.write("")
            try await clients.lines.wait("a hundred pings", seconds: 60) { $0.count == 2 }
            let report: Report = try TestServer.decode(Report.self, from: await clients.lines.events[1].text)
            // Pings that are close together are sent together, fifty times in an interval.
            #expect(report.clients == 100 && report.spanMs > 2000 && report.moments > 20, "\(report)")
        }
    }

    @Test func `an heir that is killed or hangs at any time costs nothing, and the next one takes over`() async throws {
        // One that is stopped just when it serves already is found by its silence, before anybody has waited too long.
        let environment = [
            "MARTLET_SUPERVISION_HANDOVER_TIMEOUT": "2s", "MARTLET_SUPERVISION_LIVENESS_TIMEOUT": "1500ms",
            "MARTLET_SUPERVISION_LIVENESS_INTERVAL": "300ms",
        ]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            let users = (0..<20).map { "user-\($0)" }
            try await clients.open(users.map { ($0, server.webSocket($0)) })
            var failed = 0
            for round in 0..<12 {
                let before = Set(children(of: server.process.pid))
                async let restart = server.control(["restart", "--shard", "0"])
                // The new process is the heir; it dies some time after it is seen, or is stopped and found by its
                // silence.
                var looks = 0
                let deadline = Date().addingTimeInterval(2)
                while Date() < deadline {
                    let new = Set(children(of: server.process.pid)).subtracting(before)
                    guard let heir = new.min(), isWorker(heir) else { continue }
                    looks += 1
                    if looks <= round * 20 { continue }
                    kill(heir, round % 6 == 5 ? SIGSTOP : SIGKILL)
                    break
                }
                if try await restart.code != 0 { failed += 1 }
                for user in users {
                    #expect(try await server.publish("\(round)", toUser: user) == .init(matched: 1, delivered: 1))
                }
            }
            #expect(failed > 0)
            #expect(try await server.control(["restart", "--shard", "0"]).code == 0)
            for user in users { #expect(try await clients.messages(user, count: 12) == (0..<12).map { "\($0)" }) }
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test
    func `a reload applies new secrets and limits to clients that are already connected; a bad one changes nothing`()
        async throws
    {
        try await TestServer.with(
            isDevelopment: false,
            prepare: { folder in
                try Self.write("first secret, long enough for HMAC", to: folder + "/secret")
                try Self.write("key-of-the-backend-0123456789", to: folder + "/keys")
                return [
                    "MARTLET_AUTH_HMAC_SECRET_FILE": folder + "/secret", "MARTLET_AUTH_API_KEYS_FILE": folder + "/keys",
                ]
            }
        ) { server in
            let clients = try WebSocketClients()
            func connect(_ name: String, _ token: String) async throws -> Int? {
                let url = "ws://\(server.client)/ws"
                return try await clients.attempt(name, url, headers: ["Authorization": "Bearer \(token)"]).status
            }
            func token() async throws -> String {
                let run = try await server.control(["token", "--user", "alice"])
                return run.output.trimmingCharacters(in: .whitespacesAndNewlines)
            }
            let old = try await token()
            #expect(try await connect("first", old) == nil)

            try Self.write("", to: server.folder + "/secret")
            let bad = try await server.control(["reload"])
            #expect(bad.code == 1 && bad.error.contains("hmac_secret"))
            #expect(try await server.control(["status"]).code == 0)
            #expect(try await connect("second", old) == nil, "the old secret is in force")

            try Self.write("second secret, long enough for HMAC", to: server.folder + "/secret")
            let good = try await server.control(["reload"])
            #expect(good.code == 0, "\(good.error)")
            #expect(try await connect("third", old) == 401)
            #expect(try await connect("fourth", try await token()) == nil)
            let key = ["-H", "Authorization: Bearer key-of-the-backend-0123456789"]
            let answer = try await server.request("POST", "/v1/users/alice/messages", body: "1", key)
            #expect(try answer.decoded(TestServer.Receipt.self) == .init(matched: 3, delivered: 3))
            for name in ["first", "second", "fourth"] { #expect(try await clients.messages(name, count: 1) == ["1"]) }
        }
    }

    private static func write(_ text: String, to path: String) throws {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    }

    @Test func `a shard that does not exist is named, and so is wrong usage`() async throws {
        try await TestServer.with { server in
            let unknown = try await server.control(["restart", "--shard", "7"])
            #expect(unknown.code == 1)
            let nothing = try await server.control(["restart"])
            #expect(nothing.code == 2)
            // The listener for backends does not have this path.
            let answer = try await server.request("POST", "/v1/shards/0/restart")
            #expect(answer.status == 404)
        }
    }

    /// Returns true once the process runs the worker's program; before that its parent waits for it.
    private func isWorker(_ pid: Int32) -> Bool {
        let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")
        return program?.hasSuffix("/martlet-worker") ?? false
    }

    private func children(of pid: Int32) -> [Int32] {
        let text = try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)
        return text?.split(separator: " ").compactMap { Int32($0) } ?? []
    }
}
