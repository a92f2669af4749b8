// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What the first message of a connection says.
public struct Greeting: Decodable, Sendable {
    public let connectionId: String
    public let session: String?
    public let resumeWindowMs: Int?
    public let resumed: Bool?
    public let replay: Int?
    public let received: Int?
    public let resumeError: String?
}

extension WebSocketClients {
    /// Connects a client of a server in development mode, and returns its greeting.
    ///
    /// `resume` is what comes after `resume.` in the subprotocol.
    public func connect(
        _ name: String,
        _ server: TestServer,
        user: String,
        _ resume: String,
        _ more: String = ""
    ) async throws -> Greeting {
        let opened = try await attempt(name, server.webSocket(user, more), protocols: ["martlet", "resume.\(resume)"])
        guard opened.ev == "open", opened.protocol == "martlet" else {
            throw EventLog<String>.TimedOut(description: "\(name) was refused: \(opened)")
        }
        return try TestServer.decode(Greeting.self, from: try await greeting(name))
    }

    /// Goes on with a session, of which the client has received so many messages.
    public func resume(
        _ name: String,
        _ server: TestServer,
        user: String,
        _ greeting: Greeting,
        received: Int
    ) async throws -> Greeting {
        try await connect(name, server, user: user, "\(greeting.session ?? "none").\(received)")
    }
}

extension TestServer {
    /// Publishes numbered messages to a user, and returns the receipt of the last one.
    @discardableResult
    public func publish(_ numbers: ClosedRange<Int>, to user: String) async throws -> Receipt {
        let lines = numbers.map { "{\"user\":\"\(user)\",\"message\":\($0)}" }.joined(separator: "\n")
        let answer = try await request(
            "POST",
            "/v1/batch",
            body: lines + "\n",
            ["-H", "Content-Type: application/x-ndjson"]
        )
        let last = answer.body.split(separator: "\n").last.map(String.init) ?? ""
        return try Self.decode(Receipt.self, from: last)
    }

    /// Waits until a user has this many sessions that wait for their clients.
    public func waitForWaiting(_ count: Int, of user: String) async throws {
        struct List: Decodable {
            struct Connection: Decodable {
                struct Session: Decodable { let waitingSince: String? }
                let session: Session?
            }
            let connections: [Connection]
        }
        let deadline = Date().addingTimeInterval(20)
        while true {
            let list: List = try await request("GET", "/v1/users/\(user)/connections").decoded()
            if list.connections.count(where: { $0.session?.waitingSince != nil }) == count { return }
            guard Date() < deadline else {
                throw EventLog<String>.TimedOut(description: "\(count) waiting sessions of \(user)")
            }
        }
    }
}
