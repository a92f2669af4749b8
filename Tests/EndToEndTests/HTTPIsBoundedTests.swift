// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// A peer that speaks HTTP gets no more of a worker's memory, descriptors and time than is set aside for it.
@Suite(.serialized) struct HTTPIsBoundedTests {
    private struct Report: Decodable {
        let statuses: [String: Int]?
        let sent: Int?
        let unanswered: Int?
        let last: String?
        let closed: Int?
        let outcome: String?
    }

    private static let apiKey = "key-of-the-backend-0123456789"
    private static let authorized = ["-H", "Authorization: Bearer \(apiKey)"]

    /// Runs a server with an API key, one worker, and these variables.
    private static func withServer(
        _ environment: [String: String] = [:],
        _ body: (TestServer) async throws -> Void
    ) async throws {
        try await TestServer.with(
            workers: 1,
            isDevelopment: false,
            environment: environment,
            prepare: { folder in
                for (name, text) in [("secret", String(repeating: "s", count: 40)), ("keys", apiKey)] {
                    try text.write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8)
                    let mode = [FileAttributeKey.posixPermissions: 0o600]
                    try FileManager.default.setAttributes(mode, ofItemAtPath: "\(folder)/\(name)")
                }
                return [
                    "MARTLET_AUTH_HMAC_SECRET_FILE": folder + "/secret",
                    "MARTLET_AUTH_API_KEYS_FILE": folder + "/keys",
                ]
            }
        ) { try await body($0) }
    }

    /// Starts unknown peers, and returns the first line that they print.
    private func strangers(_ arguments: [String]) async throws -> (process: Subprocess, report: Report) {
        let process = try Subprocess("/usr/bin/python3", [WebSocketClients.script("http_strangers.py")] + arguments)
        return (process, try await report(process, 1))
    }

    private func report(_ process: Subprocess, _ line: Int) async throws -> Report {
        try await process.lines.wait("report \(line)", seconds: 60) { $0.count >= line }
        let text = await process.lines.events[line - 1].text
        return try JSONDecoder().decode(Report.self, from: Data(text.utf8))
    }

    private func residentBytes(_ server: TestServer) throws -> Int {
        let pid = try #require(
            try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap(Int32.init).first { pid in
                let name = (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)) ?? ""
                let status = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
                return name.hasPrefix("martlet-worker") && status.contains("PPid:\t\(server.process.pid)\n")
            }
        )
        let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
        return (line.split(whereSeparator: { " \t".contains($0) }).dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
    }

    @Test func `nothing is taken of the body of a request without a key`() async throws {
        try await Self.withServer { server in
            let before = try residentBytes(server)
            let (process, report) = try await strangers(["bodies", server.api, "100", "4000000"])
            #expect(report.statuses == ["401": 100], "each is told at once: \(report)")
            #expect(try residentBytes(server) - before < 50_000_000, "100 bodies have 400 MB")
            process.closeInput()
            let refused = try await server.request("GET", "/metrics", Self.authorized).body
            #expect(refused.contains("martlet_api_unauthorized_total{shard=\"0\"} 100"))
        }
    }

    @Test func `all bodies together are bounded, and peers that come too late are told to try again`() async throws {
        try await Self.withServer(["MARTLET_LIMITS_BODY_BYTES": "8700000"]) { server in
            let (process, report) = try await strangers(["bodies", server.api, "10", "4000000", Self.apiKey])
            #expect(report.statuses == ["503": 8] && report.unanswered == 2, "\(report)")
            let small = try await server.request("POST", "/v1/broadcast", body: "1", Self.authorized)
            #expect(small.status == 200, "what comes whole needs no place")
            // A batch of short lines needs little; a line that grows beyond the limit ends its batch visibly.
            let line = "{\"user\":\"nobody\",\"message\":\"\("x")\"}\n"
            for (text, answers) in [
                (String(repeating: line, count: 20_000), 20_000),
                (line + line.replacing("x", with: String(repeating: "x", count: 2_000_000)), 0),
            ] {
                let file = server.folder + "/lines"
                try text.write(toFile: file, atomically: true, encoding: .utf8)
                let batch = try await server.request("POST", "/v1/batch", body: "@\(file)", Self.authorized)
                let lines = batch.body.split(separator: "\n").count
                #expect(answers == 0 ? lines < 2 : lines == answers, "\(lines)")
            }
            process.closeInput()
            _ = try await process.waitForEnd()
            let file = server.folder + "/large.json"
            try ("\"" + String(repeating: "x", count: 4_000_000) + "\"").write(
                toFile: file,
                atomically: true,
                encoding: .utf8
            )
            var large = try await server.request("POST", "/v1/users/u/messages", body: "@\(file)", Self.authorized)
            var tries = 0
            while large.status == 503, tries < 200 {
                tries += 1
                large = try await server.request("POST", "/v1/users/u/messages", body: "@\(file)", Self.authorized)
            }
            #expect(large.status == 200, "their places are free again")
            let metrics = try await server.request("GET", "/metrics", Self.authorized).body
            #expect(metrics.contains("martlet_bodies_refused_total{shard=\"0\"}"))
        }
    }

    @Test func `connections that only stay make room for those that ask`() async throws {
        try await Self.withServer(["MARTLET_LIMITS_HTTP_CONNECTIONS": "16"]) { server in
            for address in [server.api, server.client] {
                let (process, report) = try await strangers(["idle", address, "40"])
                #expect(report.statuses == ["200": 40] && report.last == "200", "\(report)")
                process.write("")
                #expect(try await self.report(process, 2).closed == 25, "those that were idle longest")
                process.closeInput()
            }
            let metrics = try await server.request("GET", "/metrics", Self.authorized).body
            let line = metrics.split(separator: "\n").first { $0.hasPrefix("martlet_http_evicted_total") } ?? ""
            #expect((line.split(separator: " ").last.flatMap { Int($0) } ?? 0) >= 50, "\(line)")
        }
    }

    @Test func `a client listener closes peers that ask for nothing, or only once; so does the API with unknown peers`()
        async throws
    {
        let environment = ["MARTLET_CLIENT_HANDSHAKE_TIMEOUT": "200ms", "MARTLET_API_TIMEOUT": "200ms"]
        try await Self.withServer(environment) { server in
            for arguments in [
                ["silent", server.client, "20", "30"], ["silent", server.client, "20", "30", "asking"],
                ["silent", server.api, "20", "30"],
            ] {
                let (_, report) = try await strangers(arguments)
                #expect(report.closed == 20, "\(arguments)")
            }
        }
    }

    @Test func `the kernel checks for backends that may have vanished`() async throws {
        try await Self.withServer(["MARTLET_API_TIMEOUT": "30s"]) { server in
            let (process, _) = try await strangers(["idle", server.api, "3"])
            defer { process.closeInput() }
            let port = try #require(server.api.split(separator: ":").last.flatMap { UInt16($0) })
            let hexadecimal = String(port, radix: 16, uppercase: true)
            let own = ":" + String(repeating: "0", count: 4 - hexadecimal.count) + hexadecimal
            let table = try await Subprocess.run("/bin/cat", ["/proc/net/tcp"]).output
            let connections = table.split(separator: "\n").map { $0.split(separator: " ") }
                .filter { $0.count > 5 && $0[1].hasSuffix(own) && $0[3] == "01" }
            #expect(connections.count == 4)
            // proc(5): 2 is the timer of SO_KEEPALIVE, followed by when it goes off, in hundredths of a second.
            for timer in connections.map({ $0[5].split(separator: ":") }) {
                #expect(timer[0] == "02" && UInt32(timer[1], radix: 16) ?? .max <= 1500, "\(timer)")
            }
        }
    }

    @Test func `a batch whose answers nobody reads ends by itself`() async throws {
        try await Self.withServer(["MARTLET_API_TIMEOUT": "500ms"]) { server in
            let plain = try await unread(server, lines: 1000)
            #expect(plain == "1000 lines")
            let blocked = try await unread(server, lines: 600_000)
            #expect(blocked != "600000 lines", "its client waits until all is sent, and we until something is read")
            let metrics = try await server.request("GET", "/metrics", Self.authorized).body
            #expect(metrics.contains("martlet_http_unread_total{shard=\"0\"} 1"), "\(blocked)")
            #expect(metrics.contains("martlet_http_connections{shard=\"0\"} 1"))
        }
    }

    /// Returns the outcome of a batch that Python's http.client sends as a whole before it reads.
    private func unread(_ server: TestServer, lines: Int) async throws -> String {
        try await strangers(["unread", server.api, "\(lines)", Self.apiKey]).report.outcome ?? ""
    }
}
