// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Real WebSocket clients that are not ours: Python's `websockets`, in their own process.
public final class WebSocketClients: Sendable {
    /// An event of a client.
    public struct Event: Decodable, Sendable {
        public let ev: String
        public let name: String
        public let text: String?
        public let hex: String?
        public let code: Int?
        public let reason: String?
        public let status: Int?
        public let body: String?
        public let headers: [String: String]?
        public let `protocol`: String?
    }

    private struct Command: Encodable {
        var op: String
        var name: String
        var url: String?
        var headers: [String: String]?
        var text: String?
        var hex: String?
        var fragments: [String]?
        var code: Int?
        var protocols: [String]?
    }

    private let process: Subprocess
    public let events = EventLog<Event>()

    /// The path of the Python that has the clients' libraries.
    public static let python = ProcessInfo.processInfo.environment["MARTLET_PYTHON"] ?? "/usr/bin/python3"

    /// Returns the path of a script beside this file.
    public static func script(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients/\(name)").path
    }

    public init() throws {
        let events = events
        process = try Subprocess(Self.python, [Self.script("websocket_clients.py")]) { line in
            if let event = try? JSONDecoder().decode(Event.self, from: Data(line.utf8)) { await events.append(event) }
        }
    }

    deinit { process.closeInput() }

    /// Sends a signal to the process of all clients; SIGSTOP halts them.
    public func signal(_ number: Int32) { process.signal(number) }

    private func tell(_ command: Command) {
        let data = (try? JSONEncoder().encode(command)) ?? Data()
        process.write(String(decoding: data, as: UTF8.self))
    }

    /// Opens connections with these names; returns when each has received its first message.
    public func open(_ urls: [(name: String, url: String)]) async throws {
        for (name, url) in urls { tell(Command(op: "open", name: name, url: url)) }
        let names = Set(urls.map(\.name))
        try await events.wait("greeting of \(names.count) connections", seconds: 60) { events in
            names.isSubset(of: Set(events.filter { $0.ev == "message" }.map(\.name)))
        }
    }

    /// Opens one connection, and returns the result: `open` or `refused`.
    public func attempt(
        _ name: String,
        _ url: String,
        protocols: [String]? = nil,
        headers: [String: String] = [:]
    ) async throws -> Event {
        tell(Command(op: "open", name: name, url: url, headers: headers, protocols: protocols))
        try await events.wait("answer to \(name)") { events in
            events.contains { $0.name == name && ($0.ev == "open" || $0.ev == "refused") }
        }
        let found = await events.events.last { $0.name == name && ($0.ev == "open" || $0.ev == "refused") }
        guard let found else { throw EventLog<String>.TimedOut(description: "no answer to \(name)") }
        return found
    }

    public func send(_ name: String, _ text: String) { tell(Command(op: "send", name: name, text: text)) }
    public func send(_ name: String, hex: String) { tell(Command(op: "send", name: name, hex: hex)) }
    /// Sends a message in fragments; with `pinging`, there is a ping before the last one.
    public func send(_ name: String, fragments: [String], pinging: Bool = false) {
        tell(Command(op: pinging ? "send-pinging" : "send", name: name, fragments: fragments))
    }
    public func ping(_ name: String) { tell(Command(op: "ping", name: name)) }
    public func close(_ name: String, code: Int = 1000) { tell(Command(op: "close", name: name, code: code)) }
    /// Breaks a client's connection, as a network does: without a close frame.
    public func breakConnection(_ name: String) { tell(Command(op: "break", name: name)) }
    /// Makes a client stop reading.
    public func pause(_ name: String) { tell(Command(op: "pause", name: name)) }

    /// Begins to open many connections at once, and waits until each is open or refused.
    public func attemptAll(_ urls: [(name: String, url: String)]) async throws -> [Event] {
        for (name, url) in urls { tell(Command(op: "open", name: name, url: url)) }
        let names = Set(urls.map(\.name))
        try await events.wait("answers to \(names.count) connections", seconds: 60) { events in
            names.isSubset(of: Set(events.filter { $0.ev == "open" || $0.ev == "refused" }.map(\.name)))
        }
        return await events.events.filter { names.contains($0.name) && ($0.ev == "open" || $0.ev == "refused") }
    }

    /// Returns the first message of a connection.
    public func greeting(_ name: String) async throws -> String {
        try await events.wait("greeting of \(name)") { events in
            events.contains { $0.ev == "message" && $0.name == name }
        }
        return await events.events.first { $0.ev == "message" && $0.name == name }?.text ?? ""
    }

    /// Returns the texts that came to a connection, without its greeting.
    public func messages(_ name: String) async -> [String] {
        Array(await events.events.filter { $0.ev == "message" && $0.name == name }.compactMap(\.text).dropFirst())
    }

    /// Waits until so many texts, not counting the greeting, have come to a connection, and returns them.
    public func messages(_ name: String, count: Int, seconds: Double = 20) async throws -> [String] {
        try await events.wait("\(count) messages to \(name)", seconds: seconds) { events in
            events.count { $0.ev == "message" && $0.name == name } >= count + 1
        }
        return await messages(name)
    }

    /// Waits until a connection is closed, and returns its code.
    public func closeCode(_ name: String, seconds: Double = 20) async throws -> Int? {
        try await events.wait("close of \(name)", seconds: seconds) { events in
            events.contains { $0.ev == "closed" && $0.name == name }
        }
        return await events.events.last { $0.ev == "closed" && $0.name == name }?.code
    }
}
