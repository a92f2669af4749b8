// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A real systemd with Martlet installed, on a machine whose own first process may be another one.
///
/// Everything is removed at the end. This needs root (`Lab/systemd-lab` says why).
public final class ServiceLab: Sendable {
    public typealias Result = (code: Int32, output: String, error: String)

    private static let tool = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Lab/systemd-lab").path
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    /// Why there cannot be a lab on this machine; nil: there can be one.
    public static var obstacle: String? {
        if geteuid() != 0 { return "the service is not tested under systemd: that needs root" }
        if !FileManager.default.isExecutableFile(atPath: "/lib/systemd/systemd") {
            return "the service is not tested under systemd: there is none on this machine"
        }
        return nil
    }

    private let name: String
    /// The port for clients on this machine's loopback; the API listens on the next port, besides its Unix socket.
    public let clientPort: Int

    private init(_ name: String, _ clientPort: Int) {
        self.name = name
        self.clientPort = clientPort
    }

    /// Boots, installs, runs the body, and halts; if this is not possible, prints a line and returns.
    ///
    /// `arguments` are those of martletd, such as `--dev`.
    public static func with(arguments: String = "", _ body: (ServiceLab) async throws -> Void) async throws {
        if let obstacle { return print(obstacle) }
        let unique = String(UUID().uuidString.prefix(8)).lowercased()
        let stage = FileManager.default.temporaryDirectory.path + "/martlet-stage-\(unique)"
        defer { try? FileManager.default.removeItem(atPath: stage) }
        let make = try await Subprocess.run(
            "/usr/bin/make",
            ["-C", root, "install", "BIN=\(TestServer.binaries)", "PREFIX=/usr", "DESTDIR=\(stage)"]
        )
        guard make.code == 0 else { throw Failure(description: make.output + make.error) }
        let lab = ServiceLab("martlet-lab-\(unique)", Int.random(in: 20_000..<30_000))
        // This halts the lab when its input ends: at the end of the test, or when this process is killed.
        let halt = try Subprocess(
            "/bin/sh",
            ["-c", "cat >/dev/null; SYSTEMD_LAB_NAME=\"$0\" exec \"$1\" down", lab.name, tool]
        )
        let result: Swift.Result<Void, any Error>
        do {
            try await lab.boot(stage, arguments)
            try await body(lab)
            result = .success(())
        } catch {
            let words = try? await lab.run("journalctl", "--no-pager", "-o", "short-precise")
            print("--- journal\n\(words?.output ?? "")---")
            result = .failure(error)
        }
        halt.closeInput()
        _ = try await halt.waitForEnd(seconds: 30)
        try result.get()
    }

    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    private func boot(_ stage: String, _ arguments: String) async throws {
        let scripts = URL(fileURLWithPath: Self.tool).deletingLastPathComponent().path
        try await succeed(tool(["up", "\(stage):/srv/stage", "\(scripts):/srv/lab"]))
        // Programs that were built for debugging load Swift's libraries from the folder of the toolchain.
        let script = """
            set -e
            cp -a /srv/stage/. /
            systemd-sysusers
            cd /etc/martlet
            head -c 32 /dev/urandom | base64 >hmac_secret
            echo 0123456789abcdef0123456789abcdef >api_keys
            chmod 600 hmac_secret api_keys
            sed -i 's/"0.0.0.0:8000"/"127.0.0.1:8000"/' martlet.yaml
            mkdir -p /etc/systemd/system/martlet.service.d /etc/systemd/system/martlet.socket.d \\
                /etc/systemd/system/martlet-api.socket.d
            printf '[Service]\\nExecPaths=-/opt/swift\\nExecStart=\\nExecStart=/usr/bin/martletd --keep-workers %s' \
                '\(arguments) --config /etc/martlet/martlet.yaml' >/etc/systemd/system/martlet.service.d/test.conf
            printf '[Socket]\\nListenStream=\\nListenStream=127.0.0.1:\(clientPort)\\n' \
                >/etc/systemd/system/martlet.socket.d/test.conf
            printf '[Socket]\\nListenStream=127.0.0.1:\(clientPort + 1)\\n' \
                >/etc/systemd/system/martlet-api.socket.d/test.conf
            systemctl daemon-reload
            """
        try await succeed(shell(script))
    }

    private func succeed(_ result: Result) throws {
        guard result.code == 0 else { throw Failure(description: result.output + result.error) }
    }

    private func tool(_ arguments: [String]) async throws -> Result {
        try await Subprocess.run("/usr/bin/env", ["SYSTEMD_LAB_NAME=\(name)", Self.tool] + arguments)
    }

    /// Runs a command in the lab, as root.
    @discardableResult
    public func run(_ command: String...) async throws -> Result {
        try await tool(["exec"] + Self.environment + command)
    }

    /// The environment for programs with AddressSanitizer, because system libraries leak some bytes at their end.
    private static let environment = Sanitizer.present == .address ? ["env", "ASAN_OPTIONS=detect_leaks=0"] : []

    @discardableResult
    public func shell(_ script: String) async throws -> Result {
        try await tool(["exec"] + Self.environment + ["sh", "-c", script])
    }

    /// Changes the service's unit.
    public func configure(service line: String) async throws {
        let file = "/etc/systemd/system/martlet.service.d/\(UUID().uuidString).conf"
        try await succeed(shell("printf '[Service]\\n%s\\n' '\(line)' >\(file); systemctl daemon-reload"))
    }

    /// Checks a condition again and again until it is true.
    public func wait(
        seconds: Double = 20,
        for what: String,
        until condition: () async throws -> Bool
    ) async throws {
        let deadline = Date().addingTimeInterval(seconds)
        while try await !condition() {
            if Date() > deadline { throw Failure(description: "not within \(seconds) s: \(what)") }
        }
    }

    /// Returns a property of the service.
    public func property(_ name: String) async throws -> String {
        try await run("systemctl", "show", "--value", "-p", name, "martlet.service").output
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Reads a property again and again until it meets a condition.
    public func wait(_ name: String, seconds: Double = 20, until condition: (String) -> Bool) async throws {
        let deadline = Date().addingTimeInterval(seconds)
        var last = ""
        while Date() < deadline {
            last = try await property(name)
            if condition(last) { return }
        }
        throw Failure(description: "\(name) is \(last)")
    }

    /// Returns what the service has written to the journal, with its fields.
    public func journal(_ more: String...) async throws -> [String] {
        let command = ["exec", "journalctl", "-o", "json", "--no-pager", "-u", "martlet.service"] + more
        return try await tool(command).output.split(separator: "\n").map(String.init)
    }
}
