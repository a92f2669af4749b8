// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// A batch is answered line by line, in order, whatever it contains; and a publish with a key is done once.
@Suite(.serialized) struct BatchesAreAnsweredTests {
    /// The options for curl, with a long timeout because a long batch is slow under a sanitizer.
    private let ndjson = ["-H", "Content-Type: application/x-ndjson", "-m", "180"]

    private func batch(_ server: TestServer, _ lines: [String]) async throws -> [String] {
        let file = server.folder + "/batch-\(UUID().uuidString).ndjson"
        try lines.joined(separator: "\n").write(toFile: file, atomically: true, encoding: .utf8)
        let answer = try await server.request("POST", "/v1/batch", body: "@\(file)", ndjson)
        #expect(answer.status == 200 && answer.headers.lowercased().contains("application/x-ndjson"))
        return answer.body.split(separator: "\n").map(String.init)
    }

    private func receipt(_ matched: Int) -> String {
        "{\"matched\":\(matched),\"delivered\":\(matched),\"held\":0,\"failed\":0}"
    }

    @Test func `each line has its answer, in order; a bad line fails alone`() async throws {
        try await TestServer.with(environment: ["MARTLET_API_MAX_BODY_BYTES": "2000"]) { server in
            let clients = try WebSocketClients()
            try await clients.open([
                ("a", server.webSocket("alice", "&thread_id=t")),
                ("b", server.webSocket("用户1", "&thread_id=t&job_id=j")),
            ])
            let answers = try await batch(
                server,
                [
                    "{\"user\":\"alice\",\"message\":{\"n\": 1}}", "{\"user\":\"用户1\",\"message\":2}",
                    "{\"thread\":\"t\",\"event\":\"e\",\"data\":3}", "?", "",
                    "{\"all\":true,\"message\":4}", "{\"job\":\"j\",\"message\":5}",
                    "{\"user\":\"alice\",\"message\":\"\(String(repeating: "x", count: 3000))\"}",
                    "{\"user\":\"nobody\",\"message\":6}", "{\"connection\":\"x\",\"message\":7}",
                    "{\"user\":\"alice\",\"message\":8}", "{\"user\":\"用户1\",\"message\":9}",
                ]
            )
            #expect(answers.count == 11, "an empty line has no answer")
            let receipts = [0, 1, 2, 4, 5, 7, 8, 9, 10].map { answers[$0] }
            #expect(receipts == [1, 1, 2, 2, 1, 0, 0, 1, 1].map(receipt))
            #expect(answers[3].contains("\"code\":\"invalid_json\"") && answers[3].contains("\"offset\":0"))
            #expect(answers[6].contains("\"code\":\"body_too_large\"") && answers[6].contains("\"limit\":2000"))
            let alice = try await clients.messages("a", count: 4)
            #expect(alice[0] == "{\"n\": 1}" && alice[1].hasPrefix("{\"type\":\"e\",\"data\":3,"))
            #expect(alice[2...] == ["4", "8"])
            let other = try await clients.messages("b", count: 5)
            #expect([other[0]] + other[2...] == ["2", "4", "5", "9"], "in the order of the lines")
        }
    }

    @Test func `100,000 lines in one request reach 200 users on two shards in order, in little memory`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            let users = (0..<200).map { "user-\($0)" }
            try await clients.open(users.map { ($0, server.webSocket($0)) })
            let before = try await server.statistics().shards.map(\.pid).map(Self.peak)
            let answers = try await batch(
                server,
                (0..<100_000).map {
                    "{\"user\":\"user-\($0 % 200)\",\"message\":{\"n\":\($0),\"pad\":\"0123456789012345678901234567890123456789\"}}"
                }
            )
            #expect(answers.count == 100_000 && answers.allSatisfy { $0 == receipt(1) })
            for (index, user) in users.enumerated() where index % 20 == 0 {
                let numbers = try await clients.messages(user, count: 500, seconds: 60).compactMap { text in
                    text.firstMatch(of: /"n":(\d+)/).flatMap { Int($0.1) }
                }
                #expect(numbers == (0..<500).map { $0 * 200 + index }, "\(user)")
            }
            let after = try await server.statistics().shards.map(\.pid).map(Self.peak)
            // The body has 9 MB; far less of it is kept at once.
            // Sanitizers keep what was freed.
            if Sanitizer.present != nil { return }
            for (then, now) in zip(before, after) { #expect(now - then < 30_000, "kB: \(then) then, \(now) now") }
        }
    }

    /// Returns the most memory that a process has had, in kB.
    private static func peak(_ pid: Int32) -> Int {
        let status = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
        return status.firstMatch(of: /VmHWM:\s+(\d+)/).flatMap { Int($0.1) } ?? 0
    }

    @Test func `a publish with a key is done once, whichever worker is asked and however many shards it reaches`()
        async throws
    {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([
                ("a", server.webSocket("alice", "&thread_id=t")), ("b", server.webSocket("用户1", "&thread_id=t")),
            ])
            let paths = [
                "/v1/users/alice/messages", "/v1/users/%E7%94%A8%E6%88%B71/messages", "/v1/threads/t/messages",
                "/v1/broadcast",
            ]
            for (index, path) in paths.enumerated() {
                let key = ["-H", "Idempotency-Key: key-\(index)"]
                var answers: Set<String> = []
                // There are several connections, so that both workers answer.
                for _ in 0..<6 { answers.insert(try await server.request("POST", path, body: "\(index)", key).body) }
                #expect(answers == [receipt(index < 2 ? 1 : 2)])
                let other = try await server.request("POST", path, body: "\"another\"", key)
                #expect(other.status == 422 && other.code == "idempotency_key_reused")
            }
            for _ in 0..<3 {
                let event = try await server.request(
                    "POST",
                    "/v1/threads/t/events",
                    body: "{\"type\":\"e\",\"data\":1}",
                    ["-H", "Idempotency-Key: event"]
                )
                #expect(event.body == receipt(2), "the timestamp is not part of what is compared")
            }
            let lines = [
                "{\"user\":\"alice\",\"message\":9,\"key\":\"k\"}", "{\"all\":true,\"message\":10,\"key\":\"l\"}",
            ]
            #expect(try await batch(server, lines + lines + lines) == [1, 2, 1, 2, 1, 2].map(receipt))
            let alice = try await clients.messages("a", count: 6)
            #expect(alice.filter { !$0.contains("type") } == ["0", "2", "3", "9", "10"])
            #expect(try await clients.messages("b", count: 5).filter { !$0.contains("type") } == ["1", "2", "3", "10"])
            let bad = try await server.request(
                "POST",
                paths[0],
                body: "1",
                ["-H", "Idempotency-Key: \(String(repeating: "x", count: 256))"]
            )
            #expect(bad.status == 400 && bad.code == "invalid_key")
        }
    }

    @Test func `a batch of any length is answered to its end, even to a client that has ended its side`() async throws {
        try await TestServer.with { server in
            // 16,384 lines may wait for their answers; broadcasts make them wait.
            let script = """
                import socket, sys
                host, port = sys.argv[1].split(":")
                for n in (0, 1, 1000, 16383, 16384, 16385, 40000):
                    s = socket.create_connection((host, int(port)), 60)
                    line = lambda i: '{"all":true,"message":1}' if i % 1000 == 0 else '{"user":"u%d","message":1}' % (i % 50)
                    body = "\\n".join(map(line, range(n))).encode()
                    s.sendall(b"POST /v1/batch HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
                    s.shutdown(socket.SHUT_WR)
                    data = b""
                    while piece := s.recv(65536): data += piece
                    print(n, data.count(b'"matched"') == n and data.endswith(b"0\\r\\n\\r\\n"))
                """
            let run = try await Subprocess.run("/usr/bin/python3", ["-c", script, server.api])
            let counts = [0, 1, 1000, 16383, 16384, 16385, 40000]
            #expect(run.output == counts.map { "\($0) True\n" }.joined(), "\(run)")
        }
    }

    @Test func `the same key at the very same time is done once`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice")), ("b", server.webSocket("用户1"))])
            let script = """
                for i in $(seq 40); do curl -s -o /dev/null -w '%{http_code} ' -H 'Idempotency-Key: same' -d '1' \
                http://\(server.api)/v1/broadcast & done; wait
                """
            let run = try await Subprocess.run("/bin/sh", ["-c", script])
            #expect(run.output.split(separator: " ").count { $0 == "200" } == 40, "\(run.output)")
            _ = try await server.publish("\"end\"", toUser: "alice")
            #expect(try await clients.messages("a", count: 2) == ["1", "\"end\""])
        }
    }
}
