// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// The operator's tool does what it says, and its exit code tells scripts the result.
@Suite(.serialized) struct OperatorsAreToldTests {
    @Test func `martletctl shows, sends, lists and disconnects`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice")), ("b", server.webSocket("用户1"))])
            let status = try await server.control(["status"])
            #expect(status.code == 0 && status.output.contains("2 of 2 shards serve 2 connections of 2 users"))
            let listed = try await server.control(["connections", "--user", "alice"]).output
            #expect(listed.contains("127.0.0.1") && listed.contains("Python/"), "\(listed)")
            let users = try await server.control(["connections", "--json"]).output
            #expect(users.contains("{\"users\":[{\"user_id\":\"alice\",\"connections\":1}"), "\(users)")
            let statistics = try await server.control(["stats", "--json"])
            let decoded = try TestServer.decode(TestServer.Statistics.self, from: statistics.output)
            #expect(decoded.totalConnections == 2)
            #expect(try await server.control(["stats", "--by-user"]).output.contains("用户1"))
            #expect(try await server.control(["stats", "--shard", "1"]).code == 0)
            #expect(try await server.control(["stats", "--shard", "7"]).code == 1)
            #expect(
                try await server.control(["send", "--user", "用户1", "{\"x\":1}"]).output
                    == "matched 1, delivered 1, held 0, failed 0\n"
            )
            #expect(try await server.control(["send", "--all", "-"], input: "[2]").code == 0)
            #expect(try await clients.messages("b", count: 2) == ["{\"x\":1}", "[2]"])
            #expect(try await server.control(["send", "--user", "nobody", "1"]).code == 1)
            let bad = try await server.control(["send", "--user", "alice", "{"])
            #expect(bad.code == 1 && bad.error.contains("at byte 1"))
            #expect(try await server.control(["send", "1"]).code == 2)
            #expect(
                try await server.control(["connections", "--user", "alice", "--json"]).output.contains(
                    "\"user_id\":\"alice\""
                )
            )
            #expect(try await server.control(["connections"]).output.contains("alice"))
            #expect(
                try await server.control(["disconnect", "--user", "alice", "--code", "4001"]).output == "closed 1\n"
            )
            #expect(try await clients.closeCode("a") == 4001)
            #expect(try await server.control(["disconnect", "--user", "alice"]).code == 1)
        }
    }

    /// Runs martletctl in a line of shell, in which `"$@"` is the program with the control socket.
    private func shell(_ script: String, _ socket: String) async throws -> (code: Int32, output: String, error: String)
    {
        try await Subprocess.run(
            "/bin/sh",
            ["-c", script, "sh", TestServer.binaries + "/martletctl", "--control-socket", socket]
        )
    }

    @Test func `others' text is printed so that a terminal does not act on it, in tables, JSON, errors and logs`()
        async throws
    {
        let environment = ["MARTLET_LOG_LEVEL": "debug"]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            let user = "a\u{1B}[2J\u{202E}b\n"
            try await clients.open([("a", server.webSocket(user))])
            let outputs = [
                try await server.control(["connections"]).output,
                try await server.control(["stats", "--by-user"]).output,
                try await server.control(["stats", "--by-user", "--json"]).output,
                try await server.control(["connections", "--user", user, "--json"]).output,
                try await server.log(with: "Added connection").joined(separator: "\n"),
            ]
            for output in outputs {
                #expect(output.contains("\\u202e"), "\(output)")
                #expect(output.unicodeScalars.allSatisfy { ($0 == "\n" || $0.value >= 0x20) && $0 != "\u{202E}" })
            }
            let json = try JSONSerialization.jsonObject(with: Data(outputs[2].utf8)) as? [String: Any]
            #expect((json?["connections_by_user"] as? [String: Int])?[user] == 1, "escaped JSON means the same")
            let failed = try await server.control(["disconnect", "--connection", "x\u{202E}y", "--json"])
            #expect(!failed.error.contains("\u{202E}") && failed.code == 1)
        }
    }

    @Test func `in a pipe each round arrives at once, a reader that leaves ends it, and a full disk is an error`()
        async throws
    {
        try await TestServer.with(workers: 1) { server in
            let once = try await shell("\"$@\" stats --watch | head -1", server.controlSocket)
            #expect(once.code == 0 && once.output.hasPrefix("connections") && once.error == "", "\(once)")
            // Output is not held back in a buffer.
            let watching = try Subprocess(
                TestServer.binaries + "/martletctl",
                ["stats", "--watch", "--control-socket", server.controlSocket]
            )
            try await watching.lines.wait("two rounds", seconds: 10) { lines in
                lines.filter { $0.text.hasPrefix("uptime") }.count == 2
            }
            watching.signal(SIGTERM)
            _ = try await watching.waitForEnd()
            // If the signal is ignored, as under service managers, the error must be ignored too.
            let ignoring = try await shell(
                "trap '' PIPE; (\"$@\" stats --watch; echo $? >&2) | head -1",
                server.controlSocket
            )
            #expect(ignoring.error == "0\n", "\(ignoring)")
            // A command that does something goes on, although nobody reads its output.
            let generation = try await server.statistics().shards[0].generation
            let restarted = try await shell("(\"$@\" restart --all; echo $? >&2) | true", server.controlSocket)
            #expect(restarted.error == "0\n")
            #expect(try await server.statistics().shards[0].generation == generation + 1)
            for command in ["\"$@\" stats", "\"$@\" status --json", "\"$1\" --version", "\"$1\" --help"] {
                let full = try await shell("\(command) >/dev/full", server.controlSocket)
                #expect(full.code == 1 && full.error.contains("No space left"), "\(command): \(full)")
            }
            for command in ["print-config", "check-config", "--version", "--help"] {
                let full = try await Subprocess.run(
                    "/bin/sh",
                    ["-c", "\"$0\" \(command) >/dev/full", TestServer.binaries + "/martletd"]
                )
                #expect(full.code == 1 && full.error.contains("No space left"), "\(full)")
            }
            for command in ["--version", "--help"] {
                let full = try await Subprocess.run(
                    "/bin/sh",
                    ["-c", "\"$0\" \(command) >/dev/full", TestServer.binaries + "/martlet-load"]
                )
                #expect(full.code == 1 && !full.error.isEmpty, "\(full)")
            }
        }
    }

    @Test func `a token is read with whatever ends its line`() async throws {
        try await TestServer.with(workers: 1) { server in
            let token = try await server.control(["token", "--user", "alice"]).output.trimmingCharacters(in: .newlines)
            let parts = try await server.control(["check-token", "-"], input: token.replacing(".", with: ".\n"))
            #expect(parts.code == 1, "only what is around it is no part of it")
            for ending in ["", "\n", "\r\n", " \r\n\r\n"] {
                let checked = try await server.control(["check-token", "-"], input: token + ending)
                #expect(checked.code == 0 && checked.output.contains("alice"), "\(checked)")
            }
        }
    }

    @Test func `errors say what would be right, and are JSON where that was asked for`() async throws {
        try await TestServer.with(workers: 2) { server in
            let unknown = try await server.control(["restart", "--shard", "7"])
            #expect(unknown.code == 1 && unknown.error.contains("this node has 2 shards: 0 to 1"), "\(unknown)")
            struct Failure: Decodable {
                struct Body: Decodable {
                    let status: Int?, code: String?, detail: String
                }
                let error: Body
            }
            let json = try await server.control(["restart", "--shard", "7", "--json"])
            let failure = try TestServer.decode(Failure.self, from: json.error)
            #expect(json.code == 1 && json.output == "")
            #expect(failure.error.status == 404 && failure.error.code == "unknown_shard")
            #expect(failure.error.detail == "this node has 2 shards: 0 to 1")
            let missing = try await Subprocess.run(
                TestServer.binaries + "/martletctl",
                ["--json", "--control-socket", "/nowhere/x", "status"]
            )
            #expect(missing.code == 3)
            #expect(try TestServer.decode(Failure.self, from: missing.error).error.code == "not_running")
            for wrong in [
                ["scale", "0", "--json"], ["restart", "--shard", "x", "--json"], ["status", "--json", "--bogus"],
            ] {
                let run = try await server.control(wrong)
                #expect(run.code == 2)
                #expect(try TestServer.decode(Failure.self, from: run.error).error.code == "usage", "\(run)")
            }
            // Options may come before or after the subcommand.
            let before = try await shell("\"$@\" status", server.controlSocket)
            #expect(before.code == 0 && before.output.contains("0 connections of 0 users"), "\(before)")
        }
    }

    @Test func `the singular is used for a single thing`() async throws {
        try await TestServer.with(workers: 1) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            let status = try await server.control(["status"]).output
            #expect(status.contains("1 of 1 shard serves 1 connection of 1 user\n"), "\(status)")
        }
    }

    @Test func `idle connections to the control socket keep no operator out`() async throws {
        try await TestServer.with(workers: 1) { server in
            let script = """
                import socket, sys
                held = []
                for _ in range(200):
                    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); held.append(s)
                print("held", flush=True)
                sys.stdin.read()
                """
            let strangers = try Subprocess("/usr/bin/python3", ["-c", script, server.controlSocket])
            try await strangers.lines.wait("connections") { $0.contains { $0.text == "held" } }
            let status = try await server.control(["status"])
            #expect(status.code == 0, "\(status)")
            strangers.closeInput()
            _ = try await strangers.waitForEnd()
        }
    }

    @Test func `without a service it says so and exits with 3`() async throws {
        let run = try await Subprocess.run(
            TestServer.binaries + "/martletctl",
            ["status", "--control-socket", "/nowhere/control.sock"]
        )
        #expect(run.code == 3 && run.error.contains("no Martlet is running"))
    }

    @Test(arguments: [
        (["--workers", "0", "--dev"], "workers: must be `auto` or 1 to 128"),
        (["--workers", "two", "--dev"], "workers: 'two' is not a whole number"),
        (["--dev", "--client-listen", "0.0.0.0:0"], "serves loopback only"),
        (["--dev", "--client-listen", "localhost"], "is not an address"), ([], "auth.hmac_secret_file: is not set"),
        (["--config", "/nowhere.yaml", "--dev"], "/nowhere.yaml"),
    ])
    func `a configuration that cannot be used stops the start and names the key`(
        arguments: [String],
        why: String
    ) async throws {
        let run = try await Subprocess.run(TestServer.binaries + "/martletd", arguments)
        #expect(run.code == 78 && run.error.contains(why), "\(run.error)")
    }

    @Test func `a worker cannot be started by hand`() async throws {
        let run = try await Subprocess.run(TestServer.binaries + "/martlet-worker", [])
        #expect(run.code == 2 && run.error.contains("started by martletd"))
    }

    @Test func `an unknown key in the file is named, and known ones are taken`() async throws {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-\(UUID().uuidString).yaml"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try "client: { listen: \"127.0.0.1:0\", colour: red }\n".write(toFile: path, atomically: true, encoding: .utf8)
        let unknown = try await Subprocess.run(TestServer.binaries + "/martletd", ["--dev", "--config", path])
        #expect(unknown.code == 78 && unknown.error.contains("client.colour: there is no such key"))
        try "client:\n  queue_bytes: 12\n".write(toFile: path, atomically: true, encoding: .utf8)
        let small = try await Subprocess.run(TestServer.binaries + "/martletd", ["--dev", "--config", path])
        #expect(small.code == 78 && small.error.contains("client.queue_bytes: must be 4096 to 268435456"))
    }

    @Test func `the control socket answers a peer that has ended its side, and knows idempotency keys`() async throws {
        try await TestServer.with { server in
            let script = """
                import socket, sys
                def ask(text):
                    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(text.encode()); s.shutdown(1)
                    data = b""
                    while piece := s.recv(65536): data += piece
                    return data.decode()
                print(ask("GET /v1/stats HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n").split()[1])
                for body in ("1", "1", "2"):
                    print(ask("POST /v1/broadcast HTTP/1.1\\r\\nHost: localhost\\r\\nIdempotency-Key: k\\r\\n"
                              "Content-Length: 1\\r\\n\\r\\n" + body).split()[1])
                """
            let run = try await Subprocess.run("/usr/bin/python3", ["-c", script, server.controlSocket])
            #expect(run.output == "200\n200\n200\n422\n", "\(run)")
        }
    }
}
