// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// An operator sees what the service does: metrics, logs, a live view, and the configuration in force.
@Suite(.serialized) struct OperatorsSeeTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func clientScript(_ name: String) -> String {
        root.appendingPathComponent("Tests/Support/Clients/\(name)").path
    }

    private static let python = ProcessInfo.processInfo.environment["MARTLET_PYTHON"] ?? "/usr/bin/python3"

    @Test func `metrics are read by the reference parser, from any worker, and say what happened`() async throws {
        let environment = ["MARTLET_CLIENT_HEARTBEAT_INTERVAL": "200ms"]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice")), ("b", server.webSocket("用户1"))])
            for user in ["alice", "用户1", "nobody"] {
                for _ in 0..<4 { _ = try await server.publish("12345", toUser: user) }
            }
            clients.send("a", "{\"type\":\"ping\"}")
            _ = try await clients.messages("a", count: 5)
            _ = try await clients.attempt("bad", "ws://\(server.client)/ws")
            clients.close("b")
            _ = try await clients.closeCode("b")
            try await server.waitForStatistics("one left") { $0.shards.map(\.slotsInUse).reduce(0, +) == 1 }
            let text = try await server.request("GET", "/metrics")
            #expect(text.headers.lowercased().contains("content-type: text/plain; version=0.0.4"))
            let read = try await Subprocess.run(Self.python, [Self.clientScript("metrics.py")], input: text.body)
            #expect(read.code == 0, "\(read.error)")
            let lines = Set(read.output.split(separator: "\n").map(String.init))
            func total(_ name: String) -> Double {
                lines.filter { $0.contains(" \(name){") }.compactMap { Double($0.split(separator: " ").last ?? "") }
                    .reduce(0, +)
            }
            #expect(total("martlet_connections") == 1 && total("martlet_shard_up") == 2)
            #expect(total("martlet_messages_delivered_total") == 8 && total("martlet_publishes_total") == 12)
            #expect(total("martlet_messages_received_total") == 1 && total("martlet_bytes_delivered_total") == 40)
            #expect(lines.contains("counter martlet_closes_total{code=1000} 1"))
            #expect(lines.contains("counter martlet_handshakes_refused_total{reason=unauthorized} 1"))
            #expect(total("martlet_publish_duration_seconds_count") == 12)
            #expect(total("martlet_hop_duration_seconds_count") > 0)
            #expect(total("martlet_connections_opened_total") == 2)
            #expect(lines.contains { $0.hasPrefix("counter martlet_messages_delivered_total{shard=") })
            // Limits, processes, and answers by status.
            #expect(lines.contains("gauge martlet_limit{key=limits.connections} 100000"))
            #expect(lines.contains("gauge martlet_limit{key=client.queue_bytes} 1048576"))
            for process in ["supervisor", "worker-0", "worker-1"] {
                for name in ["process_open_fds", "process_max_fds", "process_resident_memory_bytes"] {
                    let line = lines.first { $0.hasPrefix("gauge \(name){process=\(process)} ") } ?? ""
                    #expect(Double(line.split(separator: " ").last ?? "") ?? 0 > 5, "\(process) \(line)")
                }
            }
            #expect(total("process_start_time_seconds") > Date().timeIntervalSince1970 - 600)
            #expect(total("process_start_time_seconds") <= Date().timeIntervalSince1970)
            #expect(lines.contains("counter martlet_http_responses_total{code=401} 1"))
            let ok = lines.first { $0.hasPrefix("counter martlet_http_responses_total{code=200} ") } ?? ""
            #expect(Double(ok.split(separator: " ").last ?? "") ?? 0 >= 12, "\(ok)")
        }
    }

    @Test func `planned replacements are distinguished from workers that ended, and are not warnings`() async throws {
        try await TestServer.with(workers: 2) { server in
            #expect(try await server.control(["restart", "--shard", "0"]).code == 0)
            try await server.log(with: "A worker has taken over")
            let planned = await server.log().filter { $0.contains("A worker has taken over") }
            #expect(planned.allSatisfy { $0.contains(" info ") }, "\(planned)")
            kill(try await server.statistics().shards[1].pid, SIGKILL)
            try await server.waitForStatistics("the next one") {
                $0.shards[1].generation == 2 && $0.shards[1].state == "serving"
            }
            let ended = try await server.log(with: "A worker has taken over", count: 2).last ?? ""
            #expect(ended.contains(" warning "), "\(ended)")
            // An upgrade does not change these numbers.
            for _ in 0..<2 {
                let metrics = try await server.request("GET", "/metrics").body
                for line in [
                    "{shard=\"0\",reason=\"ended\"} 0", "{shard=\"1\",reason=\"ended\"} 1",
                ] {
                    #expect(metrics.contains("martlet_worker_restarts_total\(line)\n"), "\(line)")
                }
                #expect(!metrics.contains("martlet_worker_restarts_total{shard=\"0\",reason=\"planned\"} 0"))
                #expect(try await server.control(["upgrade"]).code == 0)
            }
        }
    }

    @Test func `the metrics have a socket of their own, on which there is nothing else`() async throws {
        let environment = ["MARTLET_METRICS_LISTEN": "127.0.0.1:0"]
        try await TestServer.with(environment: environment) { server in
            let line = try await server.log(with: " serves api=").first ?? ""
            let port = line.firstMatch(of: /metrics="?port (\d+)/)?.1 ?? ""
            func ask(_ method: String, _ path: String) async throws -> TestServer.Answer {
                try await server.curl(["http://127.0.0.1:\(port)\(path)", "-X", method])
            }
            for step in ["start", "restart", "upgrade", "reload", "scale"] {
                if step == "reload" { #expect(try await server.control(["reload"]).code == 0) }
                if step == "scale" { #expect(try await server.control(["scale", "3"]).code == 0) }
                if step == "restart" { #expect(try await server.control(["restart", "--all"]).code == 0) }
                if step == "upgrade" { #expect(try await server.control(["upgrade"]).code == 0) }
                let metrics = try await ask("GET", "/metrics")
                #expect(metrics.status == 200 && metrics.body.contains("martlet_connections{shard=\"1\"}"), "\(step)")
                for (method, path) in [
                    ("GET", "/"), ("GET", "/v1/stats"), ("POST", "/v1/broadcast"), ("GET", "/healthz"), ("GET", "/ws"),
                    ("GET", "/readyz"), ("POST", "/v1/batch"), ("DELETE", "/v1/users/a/connections"),
                ] {
                    #expect(try await ask(method, path).status == 404, "\(step): \(method) \(path)")
                }
                #expect(try await ask("POST", "/metrics").status == 405)
            }
        }
    }

    @Test func `the log has one JSON object in each line if this is configured, and detail if that is`() async throws {
        let environment = ["MARTLET_LOG_FORMAT": "json", "MARTLET_LOG_LEVEL": "debug"]
        let folder = FileManager.default.temporaryDirectory.path + "/martlet-log-\(UUID().uuidString.prefix(8))"
        let server = try Subprocess(
            TestServer.binaries + "/martletd",
            [
                "--dev", "--workers", "1", "--client-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0",
                "--control-socket", folder,
            ],
            environment: environment
        )
        struct Line: Decodable {
            let time: String, level: String, message: String, client: String?, user: String?, connection: String?,
                shard: String?
        }
        func read(_ lines: [Subprocess.Output]) -> [Line] {
            lines.compactMap { try? JSONDecoder().decode(Line.self, from: Data($0.text.utf8)) }
        }
        try await server.lines.wait("service") { $0.contains { $0.text.contains("\"client\"") } }
        let address = await read(server.lines.events).compactMap(\.client).first ?? ""
        let clients = try WebSocketClients()
        try await clients.open([("a", "ws://\(address)/ws?user=alice")])
        try await server.lines.wait("the connection") { $0.contains { $0.text.contains("Added connection") } }
        let lines = await read(server.lines.events)
        #expect(lines.count == (await server.lines.events.count), "every line is JSON")
        let added = try #require(lines.first { $0.message == "Added connection" })
        #expect(added.level == "debug" && added.user == "alice" && added.shard == "0" && added.connection?.count == 15)
        server.signal(SIGTERM)
        #expect(try await server.waitForEnd() == 0)
    }

    @Test func `top shows the shards, fits any terminal, and quits with q`() async throws {
        try await TestServer.with { server in
            let run = try await Subprocess.run(
                "/usr/bin/python3",
                [
                    Self.clientScript("top.py"), TestServer.binaries + "/martletctl", "top", "--control-socket",
                    server.controlSocket,
                ]
            )
            #expect(run.code == 0 && run.output.contains("exit 0") && run.output.contains("fits"), "\(run)")
            #expect(run.output.contains("2/2 shards serve") && run.output.contains("SENT/S"))
            let usual = run.output.components(separatedBy: "--- 80x24\n").dropFirst().first ?? ""
            #expect(usual.contains("CPU%") && !usual.contains("more shards"), "\(usual)")
            let piped = try await server.control(["top"])
            #expect(piped.code == 1 && piped.error.contains("needs a terminal"))
        }
    }

    @Test func `top says what does not fit`() async throws {
        try await TestServer.with(workers: 20) { server in
            let run = try await Subprocess.run(
                "/usr/bin/python3",
                [
                    Self.clientScript("top.py"), TestServer.binaries + "/martletctl", "top", "--control-socket",
                    server.controlSocket,
                ]
            )
            let usual = run.output.components(separatedBy: "--- 80x24\n").dropFirst().first ?? ""
            let lines = usual.components(separatedBy: "---").first?.split(whereSeparator: \.isNewline) ?? []
            #expect(lines.count <= 24 && lines.allSatisfy { $0.count <= 80 }, "\(usual)")
            #expect(usual.contains("CPU%") && usual.contains("... and 4 more shards: martletctl stats"), "\(usual)")
        }
    }

    @Test func `operators send messages and events to users, threads and jobs`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice", "&thread_id=t&job_id=j"))])
            for arguments in [["--user", "alice"], ["--thread", "t"], ["--job", "j"], ["--all"]] {
                let sent = try await server.control(["send"] + arguments + ["1"])
                #expect(sent.code == 0 && sent.output.contains("matched 1, delivered 1"), "\(arguments)")
            }
            let event = try await server.control(
                ["send", "--thread", "t", "--event", "hello", "-"],
                input: "{\"x\":1}"
            )
            #expect(event.code == 0)
            let messages = try await clients.messages("a", count: 5)
            #expect(messages[..<4] == ["1", "1", "1", "1"])
            #expect(messages[4].hasPrefix("{\"type\":\"hello\",\"data\":{\"x\":1},\"timestamp\":\""))
            let list = try await server.control(["connections", "--user", "alice"])
            #expect(list.output.contains("ROUND TRIP") && list.output.contains(" t "))
            #expect(try await server.control(["send", "--thread", "t", "not json"]).code == 1)
        }
    }

    @Test func `the shipped configuration file and the reference are what the program prints`() async throws {
        for (arguments, path) in [([], "config/martlet.yaml"), (["--markdown"], "docs/configuration.md")] {
            let printed = try await Subprocess.run(TestServer.binaries + "/martletd", ["print-config"] + arguments)
            let shipped = try String(contentsOf: Self.root.appendingPathComponent(path), encoding: .utf8)
            #expect(printed.output == shipped, "make it again: make print-docs")
        }
        let path = Self.root.appendingPathComponent("config/martlet.yaml").path
        let read = try await Subprocess.run(TestServer.binaries + "/martletd", ["print-config", "--config", path])
        let defaults = try await Subprocess.run(TestServer.binaries + "/martletd", ["print-config"])
        #expect(read.output == defaults.output, "the shipped file holds the defaults")
    }

    @Test(arguments: [
        ("client:\n  listen: nowhere\n", ":2: client.listen: 'nowhere' is not an address"),
        ("# x\nlimits: { connections: 1,\n  message_burst: 0 }\n", ":3: limits.message_burst: must be 1 to 1000000"),
        ("log:\n  level: info\n  level2: x\n", ":3: log.level2: there is no such key"),
        ("client:\n  allowed_origins: [example.com]\n", ":2: client.allowed_origins: 'example.com' must begin with"),
        ("auth: { any_room: maybe }\n", ":1: auth.any_room: 'maybe' is neither true nor false"),
    ])
    func `check-config names the file, the line and the key`(yaml: String, why: String) async throws {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-\(UUID().uuidString).yaml"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try yaml.write(toFile: path, atomically: true, encoding: .utf8)
        let run = try await Subprocess.run(TestServer.binaries + "/martletd", ["check-config", "--config", path])
        #expect(run.code == 1 && run.output.contains(path + why), "\(run.output)")
    }

    @Test func `check-config accepts a configuration that can be used`() async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/martlet-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try String(repeating: "k", count: 40).write(toFile: folder + "/key", atomically: true, encoding: .utf8)
        try "auth: { hmac_secret_file: \(folder)/key, api_keys_file: \(folder)/key }\n".write(
            toFile: folder + "/c.yaml",
            atomically: true,
            encoding: .utf8
        )
        let run = try await Subprocess.run(
            TestServer.binaries + "/martletd",
            ["check-config", "--config", folder + "/c.yaml"]
        )
        #expect(run.code == 0 && run.output.contains("is good") && run.output.contains("can be read by every user"))
    }
}
