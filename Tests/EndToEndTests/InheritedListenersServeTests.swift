// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Sockets that a service manager has opened are found by their names, and serve like our own.
@Suite(.serialized) struct InheritedListenersServeTests {
    @Test(arguments: ["control:api:client", "martlet-control.socket:martlet-api.socket:martlet.socket"])
    func `a server that inherits its sockets serves on them, whatever their order`(_ names: String) async throws {
        let script = """
            import os, socket, sys
            program, folder = sys.argv[1], sys.argv[2]
            control = socket.socket(socket.AF_UNIX); control.bind(folder + "/inherited.sock")
            client, api = socket.socket(), socket.socket()
            for s in (client, api): s.bind(("127.0.0.1", 0))
            for s in (client, api, control): s.listen(100)
            print("ports", client.getsockname()[1], api.getsockname()[1], flush=True)
            held = [os.dup(s.fileno()) for s in (control, api, client)]
            parked = [os.dup2(fd, 50 + n) for n, fd in enumerate(held)]
            for n, fd in enumerate(parked): os.dup2(fd, 3 + n, inheritable=True)
            os.environ |= {"LISTEN_FDS": "3", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": sys.argv[3],
                           "MARTLET_LOG_FORMAT": "text"}
            os.execv(program, [program, "--dev", "--workers", "2", "--control-socket", folder + "/unused.sock"])
            """
        let folder = FileManager.default.temporaryDirectory.path + "/martlet-test-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let server = try Subprocess(
            "/usr/bin/python3",
            ["-c", script, TestServer.binaries + "/martletd", folder, names]
        )
        try await server.lines.wait("service", seconds: 60) {
            $0.contains { $0.text.contains(" serves api=") }
        }
        let line = await server.lines.events.first { $0.text.hasPrefix("ports ") }?.text ?? ""
        let ports = line.split(separator: " ").compactMap { Int($0) }
        let clients = try WebSocketClients()
        try await clients.open([("a", "ws://127.0.0.1:\(ports[0])/ws?user=alice")])
        let sent = try await Subprocess.run(
            "/usr/bin/curl",
            ["-s", "-d", "[1]", "http://127.0.0.1:\(ports[1])/v1/users/alice/messages"]
        )
        #expect(sent.output == "{\"matched\":1,\"delivered\":1,\"held\":0,\"failed\":0}")
        #expect(try await clients.messages("a", count: 1) == ["[1]"])
        let status = try await Subprocess.run(
            TestServer.binaries + "/martletctl",
            ["status", "--control-socket", folder + "/inherited.sock"]
        )
        #expect(status.code == 0)
        server.signal(SIGTERM)
        #expect(try await server.waitForEnd() == 0)
        #expect(
            FileManager.default.fileExists(atPath: folder + "/inherited.sock"),
            "a foreign socket file is not removed"
        )
    }

    @Test(arguments: [
        ("None", "a socket named 'unknown' (port "), ("'client:web.socket'", "a socket named 'web.socket' (port "),
        ("'control:control'", "two sockets of this name"), ("'datagrams:client'", "a socket named 'datagrams'"),
    ])
    func `a socket whose name does not say what it is for prevents the start, and is named`(
        _ names: String,
        _ why: String
    ) async throws {
        let script = """
            import os, socket, sys
            held = [socket.socket(), socket.socket()]
            for s in held: s.bind(("127.0.0.1", 0)); s.listen(10)
            parked = [os.dup2(s.fileno(), 50 + n) for n, s in enumerate(held)]
            for n, fd in enumerate(parked): os.dup2(fd, 3 + n, inheritable=True)
            os.environ |= {"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())}
            names = \(names)
            if names: os.environ["LISTEN_FDNAMES"] = names
            os.execv(sys.argv[1], [sys.argv[1], "--dev", "--control-socket", "none"])
            """
        let run = try await Subprocess.run("/usr/bin/python3", ["-c", script, TestServer.binaries + "/martletd"])
        #expect(run.code == 78 && run.error.contains(why), "\(run)")
    }

    @Test(arguments: ["SOCK_DGRAM", "SOCK_STREAM"])
    func `a socket that has a listener's name and does not listen prevents the start`(_ type: String) async throws {
        let script = """
            import os, socket, sys
            s = socket.socket(socket.AF_INET, socket.\(type)); s.bind(("127.0.0.1", 0))
            os.dup2(s.fileno(), 50); os.dup2(50, 3, inheritable=True)
            os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "client"}
            os.execv(sys.argv[1], [sys.argv[1], "--dev", "--control-socket", "none"])
            """
        let run = try await Subprocess.run("/usr/bin/python3", ["-c", script, TestServer.binaries + "/martletd"])
        #expect(run.code == 78 && run.error.contains("not a listening stream socket"), "\(run)")
    }
}
