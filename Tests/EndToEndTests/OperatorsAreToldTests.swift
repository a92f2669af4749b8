import Foundation
import Support
import Testing

/// The operator's tool does what it says, and its exit code tells scripts.
@Suite(.serialized) struct OperatorsAreToldTests {
    @Test func `martletctl shows, sends, lists and disconnects`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice")), ("b", server.webSocket("用户1"))])
            let status = try await server.control(["status"])
            #expect(status.code == 0 && status.output.contains("2 of 2 shards serve 2 connections of 2 users"))
            let statistics = try await server.control(["stats", "--json"])
            let decoded = try TestServer.decode(TestServer.Statistics.self, from: statistics.output)
            #expect(decoded.totalConnections == 2)
            #expect(try await server.control(["stats", "--by-user"]).output.contains("用户1"))
            #expect(try await server.control(["stats", "--shard", "1"]).code == 0)
            #expect(try await server.control(["stats", "--shard", "7"]).code == 1)
            #expect(
                try await server.control(["send", "--user", "用户1", "{\"x\":1}"]).output
                    == "matched 1, delivered 1, failed 0\n"
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

    @Test func `without a service it says so and exits with 3`() async throws {
        let run = try await Subprocess.run(
            TestServer.binaries + "/martletctl",
            ["status", "--control-socket", "/nowhere/control.sock"]
        )
        #expect(run.code == 3 && run.error.contains("no Martlet is running"))
    }

    @Test(arguments: [
        (["--workers", "0", "--dev"], "workers: must be `auto` or 1 to 128"),
        (["--workers", "two", "--dev"], "workers: 'two' is no whole number"),
        (["--dev", "--client-listen", "0.0.0.0:0"], "serves loopback only"),
        (["--dev", "--client-listen", "localhost"], "is no address"), ([], "auth.hmac_secret_file: is not set"),
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

    @Test func `the control socket answers who has ended its side, and knows idempotency keys`() async throws {
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
