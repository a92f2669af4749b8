// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A real martletd with its workers, on its own ports and in its own folder.
public final class TestServer: Sendable {
    public struct Shard: Decodable, Sendable {
        public let shard: Int
        public let pid: Int32
        public let generation: Int
        public let state: String
        public let connections: Int
        public let users: Int
        public let slotsInUse: Int
        public let restarts: Int
        public let queueBytes: Int
        public let lastRestart: LastRestart?
    }

    public struct LastRestart: Decodable, Sendable {
        public let reason: String
        public let connectionsKept: Int?
        public let connectionsLost: Int?
        public let pauseMs: Int?
        public let positionsUnrecorded: Int?
    }

    public struct Statistics: Decodable, Sendable {
        public struct Messages: Decodable, Sendable {
            public let sent: Int
            public let received: Int
            public let failed: Int
            public let dropped: Int
        }

        public let totalConnections: Int
        public let uniqueUsers: Int
        public let threads: Int
        public let jobs: Int
        public let connectionsByUser: [String: Int]?
        public let messages: Messages
        public let shards: [Shard]
    }

    public struct Receipt: Decodable, Equatable, Sendable {
        public let matched: Int
        public let delivered: Int
        public let held: Int
        public let failed: Int

        public init(matched: Int, delivered: Int, held: Int = 0, failed: Int = 0) {
            self.matched = matched
            self.delivered = delivered
            self.held = held
            self.failed = failed
        }
    }

    public struct Answer: Sendable {
        public let status: Int
        public let body: String
        public let headers: String

        public func decoded<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
            try TestServer.decode(type, from: body)
        }

        /// The `code` of a problem+json answer.
        public var code: String? {
            struct Problem: Decodable { let code: String }
            return try? decoded(Problem.self).code
        }
    }

    /// Decodes JSON of the API, whose members are in snake case.
    public static func decode<Value: Decodable>(_ type: Value.Type, from text: String) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(type, from: Data(text.utf8))
    }

    /// The folder of the programs under test: beside the tests, or that of `MARTLET_PROGRAMS` (such as a release
    /// build).
    public static let binaries: String = {
        if let folder = ProcessInfo.processInfo.environment["MARTLET_PROGRAMS"] { return folder }
        let tests = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(fileURLWithPath: tests ?? "").deletingLastPathComponent().path
    }()

    public let process: Subprocess
    public let client: String
    public let api: String
    public let controlSocket: String
    public let folder: String

    /// Starts a server, runs the body, and stops the server; its log is printed when the body fails.
    ///
    /// With `isDevelopment` it runs with `--dev`; otherwise secrets must come from `environment`, or from what
    /// `prepare` puts into the server's folder and returns as more variables. `programs` is a folder with martletd and
    /// martlet-worker; nil: the ones under test, where they were built. `openFiles` is how many files it may have open
    /// (`ulimit -n`); nil: as many as we may.
    public static func with(
        workers: Int = 2,
        programs: String? = nil,
        openFiles: Int? = nil,
        isDevelopment: Bool = true,
        environment: [String: String] = [:],
        prepare: (_ folder: String) async throws -> [String: String] = { _ in [:] },
        _ body: (TestServer) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/martlet-test-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let variables = environment.merging(try await prepare(folder)) { $1 }
        let server = try await TestServer(folder, programs ?? binaries, workers, openFiles, isDevelopment, variables)
        do {
            try await body(server)
        } catch {
            print("--- log of the server\n" + (await server.log()).joined(separator: "\n") + "\n---")
            _ = try? await server.stop()
            throw error
        }
        try await server.stop()
    }

    private init(
        _ folder: String,
        _ programs: String,
        _ workers: Int,
        _ openFiles: Int?,
        _ isDevelopment: Bool,
        _ environment: [String: String]
    ) async throws {
        self.folder = folder
        controlSocket = folder + "/control.sock"
        let apiListen = environment["MARTLET_API_LISTEN"] ?? "127.0.0.1:0"
        let limit = openFiles.map { "ulimit -n \($0); " } ?? ""
        process = try Subprocess(
            "/bin/sh",
            ["-c", limit + "exec \"$0\" \"$@\"", programs + "/martletd"] + (isDevelopment ? ["--dev"] : []) + [
                "--workers", "\(workers)", "--client-listen", "127.0.0.1:0", "--api-listen", apiListen,
                "--control-socket", controlSocket,
            ],
            environment: ["MARTLET_LOG_FORMAT": "text"].merging(environment) { $1 }
        )
        try await process.lines.wait("line that says it serves", seconds: 60) { lines in
            lines.contains { $0.text.contains(" serves api=") }
        }
        let line = await process.lines.events.first { $0.text.contains(" serves api=") }?.text ?? ""
        func value(_ key: String) -> String {
            line.split(separator: " ").first { $0.hasPrefix(key + "=") }.map { String($0.dropFirst(key.count + 1)) }
                ?? ""
        }
        client = value("client")
        api = value("api")
    }

    /// Returns the lines of the log that have arrived so far; others may be on their way through the pipe.
    public func log() async -> [String] { await process.lines.events.map(\.text) }

    /// Returns the lines of the log that contain `part`, once there are `count` of them.
    ///
    /// What the server wrote before an answer may be read after that answer, because the log comes through its own
    /// pipe.
    @discardableResult
    public func log(with part: String, count: Int = 1, seconds: Double = 15) async throws -> [String] {
        try await process.lines.wait("\(count) lines of the log with \"\(part)\"", seconds: seconds) { lines in
            lines.filter { $0.text.contains(part) }.count >= count
        }
        return await log().filter { $0.contains(part) }
    }

    /// Stops the server with SIGTERM, and returns the exit code.
    @discardableResult
    public func stop() async throws -> Int32 {
        process.signal(SIGTERM)
        let code = try await process.waitForEnd(seconds: 30)
        try? FileManager.default.removeItem(atPath: folder)
        return code
    }

    // MARK: HTTP, with curl

    /// Sends a request to the API.
    public func request(
        _ method: String,
        _ path: String,
        body: String? = nil,
        _ more: [String] = []
    ) async throws -> Answer {
        let isUnix = api.hasPrefix("unix:")
        let address =
            isUnix ? ["http://x\(path)", "--unix-socket", String(api.dropFirst(5))] : ["http://\(api)\(path)"]
        return try await curl(address + ["-X", method] + (body.map { ["--data-binary", $0] } ?? []) + more)
    }

    public func curl(_ arguments: [String]) async throws -> Answer {
        let run = try await Subprocess.run(
            "/usr/bin/curl",
            ["-s", "-g", "-m", "20", "-D", "/dev/stderr", "-w", "\n%{http_code}"] + arguments
        )
        let lines = run.output.split(separator: "\n", omittingEmptySubsequences: false)
        return Answer(
            status: Int(lines.last ?? "") ?? 0,
            body: lines.dropLast().joined(separator: "\n"),
            headers: run.error
        )
    }

    public func publish(_ body: String, toUser user: String) async throws -> Receipt {
        try await request("POST", "/v1/users/\(Self.encoded(user))/messages", body: body).decoded()
    }

    public func statistics(byUser: Bool = false) async throws -> Statistics {
        try await request("GET", "/v1/stats?by_user=\(byUser)").decoded()
    }

    /// Asks again until the statistics are as expected; each answer is fresh, so no time is guessed.
    public func waitForStatistics(
        _ what: String,
        seconds: Double = 20,
        until condition: (Statistics) -> Bool
    ) async throws {
        let deadline = Date().addingTimeInterval(seconds)
        var last: Statistics?
        while Date() < deadline {
            if let now = try? await statistics() {
                if condition(now) { return }
                last = now
            }
        }
        throw EventLog<String>.TimedOut(description: "no \(what) within \(seconds) s: \(String(describing: last))")
    }

    /// Asks again until the metrics are as expected.
    public func waitForMetrics(
        _ what: String,
        seconds: Double = 30,
        until condition: (String) -> Bool
    ) async throws {
        let deadline = Date().addingTimeInterval(seconds)
        while Date() < deadline {
            if let answer = try? await request("GET", "/metrics"), condition(answer.body) { return }
        }
        throw EventLog<String>.TimedOut(description: "no \(what) within \(seconds) s")
    }

    public static func encoded(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? text
    }

    public func webSocket(_ user: String, _ more: String = "") -> String {
        "ws://\(client)/ws?user=\(Self.encoded(user))\(more)"
    }

    public func control(
        _ arguments: [String],
        input: String? = nil
    ) async throws -> (code: Int32, output: String, error: String) {
        try await Subprocess.run(
            Self.binaries + "/martletctl",
            arguments + ["--control-socket", controlSocket],
            input: input
        )
    }
}
