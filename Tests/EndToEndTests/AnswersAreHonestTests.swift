// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// An answer says what is true: the same for any number of shards, and no part of a request is silently left out.
@Suite(.serialized) struct AnswersAreHonestTests {
    @Test(arguments: [(1, 2), (2, 1), (2, 3), (1, 3)])
    func `a key gets the first answer again, whatever the number of shards is by then`(
        before: Int,
        after: Int
    )
        async throws
    {
        try await TestServer.with(workers: before) { server in
            let clients = try WebSocketClients()
            let users = (0..<6).map { "user-\($0)" }
            try await clients.open(users.map { ($0, server.webSocket($0, "&thread_id=t&job_id=j")) })
            let paths = [
                "/v1/broadcast", "/v1/threads/t/messages", "/v1/jobs/j/messages", "/v1/users/user-0/messages",
                "/v1/broadcast?exclude_user=user-1",
            ]
            func publish(_ number: Int) async throws -> String {
                let key = ["-H", "Idempotency-Key: key-\(number)"]
                return try await server.request("POST", paths[number], body: "\(number)", key).body
            }
            var first: [String] = []
            for number in paths.indices { first.append(try await publish(number)) }
            #expect(first[0].contains("\"matched\":6"))
            #expect(try await server.control(["scale", "\(after)"]).code == 0)
            // Clients that have come since then are not counted either.
            try await clients.open([("late", server.webSocket("late", "&thread_id=t&job_id=j"))])
            for number in paths.indices { #expect(try await publish(number) == first[number], "\(paths[number])") }
            #expect(try await server.control(["scale", "\(before)"]).code == 0)
            for number in paths.indices { #expect(try await publish(number) == first[number], "\(paths[number])") }
            for user in users.dropFirst(2) {
                #expect(try await clients.messages(user, count: 4) == ["0", "1", "2", "4"])
            }
            #expect(await clients.messages("late").isEmpty)
        }
    }

    @Test func `while a shard does not answer, no answer presents some of the users as all of them`() async throws {
        let environment = [
            "MARTLET_SUPERVISION_LIVENESS_TIMEOUT": "60s", "MARTLET_SUPERVISION_LIVENESS_INTERVAL": "100ms",
        ]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            try await clients.open((0..<8).map { ("\($0)", server.webSocket("user-\($0)")) })
            try await server.waitForStatistics("everybody, of each shard") { statistics in
                statistics.totalConnections == 8 && statistics.shards.allSatisfy { $0.connections > 0 }
            }
            func users() async throws -> TestServer.Answer {
                try await server.request("GET", "/v1/stats?by_user=true")
            }
            #expect(try await users().decoded(TestServer.Statistics.self).connectionsByUser?.count == 8)
            let pid = try await server.statistics().shards[1].pid
            kill(pid, SIGSTOP)
            defer { kill(pid, SIGCONT) }
            // The supervisor, which is not halted, gets this request.
            let answer = try await server.curl([
                "http://x/v1/stats?by_user=true", "--unix-socket", server.controlSocket,
            ])
            #expect(answer.status == 503 && answer.code == "shard_unavailable", "\(answer)")
            let plain = try await server.curl(["http://x/v1/stats", "--unix-socket", server.controlSocket])
            #expect(try plain.decoded(TestServer.Statistics.self).totalConnections == 8, "as they were last")
            kill(pid, SIGCONT)
            #expect(try await users().decoded(TestServer.Statistics.self).connectionsByUser?.count == 8)
        }
    }

    @Test func `a parameter that is not known, or is given twice, is refused before anything is delivered`()
        async throws
    {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice", "&thread_id=t"))])
            for path in [
                "/v1/threads/t/messages?exclude_user=alice", "/v1/broadcast?exclude=alice",
                "/v1/users/alice/messages?exclude_user=x", "/v1/broadcast/events?excludeUser=alice",
            ] {
                let answer = try await server.request("POST", path, body: "{\"type\":\"x\"}")
                #expect(answer.status == 400 && answer.code == "unknown_parameter", "\(path): \(answer.body)")
            }
            let twice = try await server.request("DELETE", "/v1/users/alice/connections?code=4001&code=4002")
            #expect(twice.status == 400 && twice.code == "repeated_parameter")
            let odd = try await server.request("GET", "/v1/stats?by_user=yes")
            #expect(odd.status == 400 && odd.code == "invalid_parameter")
            // We do not care what others add to a client's URL; our own parameters may be given once.
            #expect(try await clients.attempt("b", server.webSocket("bob", "&utm=1&utm=2")).ev == "open")
            for more in ["&thread_id=a&thread_id=b", "&job_id=a&job_id=a", "&user=carol"] {
                let answer = try await clients.attempt("c\(more)", server.webSocket("bob", more))
                #expect(answer.status == 400 && answer.body?.contains("repeated_parameter") == true)
            }
            #expect(try await server.publish("\"end\"", toUser: "alice").matched == 1)
            #expect(try await clients.messages("a", count: 1) == ["\"end\""])
        }
    }

    @Test func `an unknown variable with our prefix is named once, those of other programs are not`() async throws {
        let environment = [
            "MARTLET_CLIENT_LISTN": "127.0.0.1:1", "MARTLET_SERVICE_HOST": "10.0.0.1",
            "MARTLET_PORT": "tcp://10.0.0.1:80",
            "MARTLET_API_PORT_8001_TCP_ADDR": "10.0.0.1", "MARTLET_API_SERVICE_PORT_HTTP": "8001",
        ]
        try await TestServer.with(environment: environment) { server in
            let warnings = try await server.log(with: "MARTLET_")
            let names = warnings.first?.split(whereSeparator: { " \"=".contains($0) }).map(String.init) ?? []
            #expect(warnings.count == 1 && names.contains("MARTLET_CLIENT_LISTN"), "\(warnings)")
            #expect(Set(names).intersection(environment.keys) == ["MARTLET_CLIENT_LISTN"], "\(warnings)")
        }
    }
}
