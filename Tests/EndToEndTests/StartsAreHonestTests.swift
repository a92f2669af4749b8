// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Everything that an operator specifies at the start is used, or refused with a sentence; no foreign file is touched.
@Suite(.serialized) struct StartsAreHonestTests {
    private static let program = TestServer.binaries + "/martletd"
    private static let addresses = ["--client-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--workers", "1"]

    /// Runs the body with its own folder.
    private func inFolder(_ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/martlet-start-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    /// Starts the program with a line of shell, in which `"$@"` is the program with its arguments.
    private func start(
        _ script: String,
        _ arguments: [String],
        environment: [String: String] = [:]
    ) throws -> Subprocess {
        try Subprocess(
            "/bin/sh",
            ["-c", script, "sh", Self.program, "--dev"] + arguments,
            environment: ["MARTLET_LOG_FORMAT": "text"].merging(environment) { $1 }
        )
    }

    private func waitUntilServing(_ socket: String) async throws {
        let deadline = Date().addingTimeInterval(60)
        while Date() < deadline {
            let run = try await Subprocess.run(
                TestServer.binaries + "/martletctl",
                ["status", "--control-socket", socket]
            )
            if run.code == 0 { return }
        }
        throw EventLog<String>.TimedOut(description: "it does not serve")
    }

    private func stop(_ server: Subprocess) async throws {
        server.signal(SIGTERM)
        #expect(try await server.waitForEnd(seconds: 30) == 0)
    }

    @Test(arguments: [["--control-socket", "FILE"], ["--control-socket", "SOCKET", "--api-listen", "unix:FILE"]])
    func `a file that is not a socket is neither replaced nor removed`(_ arguments: [String]) async throws {
        try await inFolder { folder in
            let file = folder + "/notes"
            try "mine".write(toFile: file, atomically: true, encoding: .utf8)
            let given = arguments.map {
                $0.replacingOccurrences(of: "FILE", with: file).replacingOccurrences(of: "SOCKET", with: folder + "/c")
            }
            let run = try await Subprocess.run(Self.program, ["--dev", "--client-listen", "127.0.0.1:0"] + given)
            #expect(run.code == 78 && run.error.contains("File exists, and it is not a socket"), "\(run)")
            #expect(try String(contentsOfFile: file, encoding: .utf8) == "mine")
            let config = folder + "/martlet.yaml"
            try "control_socket: \(file)\n".write(toFile: config, atomically: true, encoding: .utf8)
            let checked = try await Subprocess.run(Self.program, ["check-config", "--config", config])
            #expect(checked.code == 1 && checked.output.contains("martlet.yaml:1: control_socket:"), "\(checked)")
        }
    }

    @Test
    func `a socket that nobody listens on is replaced, one that is in use is not, and only our own is removed`()
        async throws
    {
        try await inFolder { folder in
            let socket = folder + "/control.sock"
            let first = try start("exec \"$@\"", Self.addresses + ["--control-socket", socket])
            try await waitUntilServing(socket)
            let second = try await Subprocess.run(
                Self.program,
                ["--dev"] + Self.addresses + ["--control-socket", socket]
            )
            #expect(second.code == 78 && second.error.contains("is another martletd running?"), "\(second)")
            first.signal(SIGKILL)
            _ = try await first.waitForEnd()
            let third = try start("exec \"$@\"", Self.addresses + ["--control-socket", socket])
            try await waitUntilServing(socket)
            // Somebody puts another file in the place of the socket.
            try FileManager.default.removeItem(atPath: socket)
            try "mine".write(toFile: socket, atomically: true, encoding: .utf8)
            try await stop(third)
            #expect(try String(contentsOfFile: socket, encoding: .utf8) == "mine")
        }
    }

    @Test func `standard descriptors that are closed do not become sockets`() async throws {
        try await inFolder { folder in
            let socket = folder + "/control.sock"
            let server = try start("exec 0<&- 1>&- 2>&-; exec \"$@\"", Self.addresses + ["--control-socket", socket])
            try await waitUntilServing(socket)
            for number in 0...2 {
                let target = try FileManager.default.destinationOfSymbolicLink(
                    atPath: "/proc/\(server.pid)/fd/\(number)"
                )
                #expect(target == "/dev/null", "\(number) is \(target)")
            }
            try await stop(server)
            let tool = try await Subprocess.run(
                "/bin/sh",
                [
                    "-c", "exec 0<&- 1>&-; exec \"$@\"", "sh", TestServer.binaries + "/martletctl", "status",
                    "--control-socket", socket,
                ]
            )
            #expect(tool.code == 3)
        }
    }

    @Test func `signals that mean nothing end neither the supervisor nor a worker, and are logged`() async throws {
        try await TestServer.with(workers: 1) { server in
            let worker = try #require(try await server.statistics().shards.first?.pid)
            let signals: [Int32] = [SIGUSR1, SIGUSR2, SIGALRM, SIGIO, SIGVTALRM, SIGPROF, SIGPWR, 16, 34, 64]
            for signal in signals {
                kill(worker, signal)
                server.process.signal(signal)
            }
            try await server.log(with: "Ignored a signal that is not used", count: signals.count)
            try await server.log(with: "signal=SIGUSR1")
            let shard = try #require(try await server.statistics().shards.first)
            #expect(shard.pid == worker && shard.restarts == 0)
        }
    }

    @Test(arguments: [("ulimit -f 1000", "ulimit -f"), ("ulimit -n 30", "ulimit -n")])
    func `a limit that is too small is named`(_ limit: String, _ named: String) async throws {
        try await inFolder { folder in
            let run = try await Subprocess.run(
                "/bin/sh",
                ["-c", "\(limit); exec \"$@\"", "sh", Self.program, "--dev"] + Self.addresses
                    + ["--control-socket", folder + "/c"]
            )
            #expect(run.code == 1 && run.error.contains(named) && !run.error.contains("No such file"), "\(run)")
        }
    }

    @Test func `as the first process of a container it collects orphans`() async throws {
        try await inFolder { folder in
            let socket = folder + "/control.sock"
            let server = try Subprocess(
                "/usr/bin/unshare",
                [
                    "--pid", "--fork", "--kill-child", "/bin/sh", "-c", "(sleep 0.3 &); exec \"$@\"", "sh",
                    Self.program, "--dev",
                ]
                    + Self.addresses + ["--control-socket", socket],
                environment: ["MARTLET_LOG_FORMAT": "text"]
            )
            try await waitUntilServing(socket)
            func children(_ pid: Int32) throws -> [Int32] {
                try String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8).split(separator: " ")
                    .compactMap { Int32($0) }
            }
            let pid = try #require(try children(server.pid).first)
            /// Returns the names of its children, including ended ones that nobody has collected.
            func names() throws -> [String] {
                try children(pid).compactMap { try? String(contentsOfFile: "/proc/\($0)/comm", encoding: .utf8) }
            }
            #expect(try names().contains("martlet-worker\n"))
            let deadline = Date().addingTimeInterval(20)
            while try names().contains("sleep\n"), Date() < deadline {}
            #expect(try !names().contains("sleep\n"), "an orphan that has ended is collected")
            kill(pid, SIGTERM)
            #expect(try await server.waitForEnd(seconds: 30) == 0)
        }
    }

    @Test func `a server without a control socket serves`() async throws {
        let server = try start("exec \"$@\"", Self.addresses + ["--control-socket", "none"])
        try await server.lines.wait("service", seconds: 60) { $0.contains { $0.text.contains(" serves api=") } }
        let line = await server.lines.events.first { $0.text.contains(" serves api=") }?.text ?? ""
        let api = line.firstMatch(of: /api=(\S+)/)?.1 ?? ""
        let answer = try await Subprocess.run("/usr/bin/curl", ["-s", "http://\(api)/readyz"])
        #expect(answer.output == "ready\n")
        // A reload by signal needs no socket.
        server.signal(SIGHUP)
        try await server.lines.wait("a reload") { $0.contains { $0.text.hasSuffix("Reloaded") } }
        try await stop(server)
    }

    @Test func `the link to the demo page has the address of the listener`() async throws {
        try await inFolder { folder in
            for (address, host) in [("[::1]:0", "[::1]"), ("127.0.0.2:0", "127.0.0.2")] {
                let arguments = [
                    "--client-listen", address, "--api-listen", "127.0.0.1:0", "--control-socket", folder + "/c",
                ]
                let server = try start("exec \"$@\"", arguments)
                try await server.lines.wait("the link", seconds: 60) { $0.contains { $0.text.contains("Demo page: ") } }
                let line = await server.lines.events.first { $0.text.contains("Demo page: ") }?.text ?? ""
                let link = String(line.split(separator: " ").last ?? "")
                #expect(link.hasPrefix("http://\(host):"), "\(line)")
                let page = try await Subprocess.run("/usr/bin/curl", ["-s", link])
                #expect(page.output.contains("<title>Martlet</title>"))
                try await stop(server)
            }
        }
    }

    /// Folders in which control groups of version 1 or 2 can be made on this machine, and how to set a quota there.
    private static let quotas = [
        ("/sys/fs/cgroup/cpu", [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "90000")]),
        ("/sys/fs/cgroup", [("cpu.max", "90000 100000")]),
    ].filter { folder, settings in
        access(folder, W_OK) == 0 && (folder.hasSuffix("cpu") || access(folder + "/cgroup.controllers", R_OK) == 0)
    }

    @Test(.enabled(if: !quotas.isEmpty))
    func `there are as many workers as the CPU quota allows`() async throws {
        for (folder, settings) in Self.quotas {
            let group = "\(folder)/martlet-test-\(UUID().uuidString.prefix(8))"
            try #require(mkdir(group, 0o755) == 0)
            defer { rmdir(group) }
            for (file, value) in settings {
                try value.write(toFile: group + "/" + file, atomically: false, encoding: .utf8)
            }
            try await inFolder { folder in
                let arguments = [
                    "--client-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--control-socket", folder + "/c",
                ]
                let server = try start("echo $$ >\(group)/cgroup.procs; exec \"$@\"", arguments)
                try await server.lines.wait("service", seconds: 60) { $0.contains { $0.text.contains(" serves api=") } }
                #expect(await server.lines.events.contains { $0.text.contains("workers=1") })
                try await stop(server)
            }
        }
    }

    @Test func `a start that fails leaves no socket behind`() async throws {
        try await inFolder { folder in
            let file = folder + "/notes"
            try "mine".write(toFile: file, atomically: true, encoding: .utf8)
            let arguments = ["--dev", "--client-listen", "127.0.0.1:0", "--api-listen", "unix:\(folder)/api.sock"]
            let run = try await Subprocess.run(Self.program, arguments + ["--control-socket", file])
            #expect(run.code == 78)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["notes"])
        }
    }

    @Test func `variables that are set to nothing are not set`() async throws {
        try await inFolder { folder in
            let empty = ["LISTEN_PID", "LISTEN_FDS", "TMPDIR", "XDG_RUNTIME_DIR", "NOTIFY_SOCKET", "MARTLET_WORKERS"]
            let server = try start(
                "exec \"$@\"",
                Self.addresses + ["--control-socket", folder + "/c"],
                environment: Dictionary(uniqueKeysWithValues: empty.map { ($0, "") })
            )
            try await waitUntilServing(folder + "/c")
            try await stop(server)
            let tool = try await Subprocess.run(
                "/bin/sh",
                ["-c", "MARTLET_CONTROL_SOCKET= exec \"$0\" status --json", TestServer.binaries + "/martletctl"]
            )
            #expect(tool.code == 0 || tool.error.contains("/run/martlet/control.sock"), "\(tool)")
        }
    }

    @Test func `SIGQUIT ends the server properly`() async throws {
        try await TestServer.with(workers: 1) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            server.process.signal(SIGQUIT)
            #expect(try await clients.closeCode("a") == 1001)
            #expect(try await server.process.waitForEnd() == 0)
        }
    }
}
