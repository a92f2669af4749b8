// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import Foundation
internal import NIOCore
internal import NIOPosix

/// The environment of a run: one event loop on one thread, the addresses, and the server's cost before and after.
final class Measurement: @unchecked Sendable {
    // Unchecked: the loop writes the report while the main thread waits for it, or the other way round, but never both.
    struct Failed: Error, CustomStringConvertible {
        let description: String
    }

    let options: LoadOptions
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    var report = LoadReport()
    private(set) var serverPid: Int?
    private var knownTokens: [Int: Tokens] = [:]

    var loop: any EventLoop { group.any() }

    init(_ options: LoadOptions) {
        self.options = options
    }

    /// Performs a run, and prints the results; the exit code is 1 if a promise was broken.
    func run(_ body: (Measurement) throws -> Void) throws {
        serverPid = try options.serverPid ?? findServer()
        try body(self)
        if options.json { try report.printJSON() } else { try report.printTable() }
        if !report.broken.isEmpty { throw ExitCode(1) }
    }

    /// Returns the host and the port of `host:port`.
    static func split(_ address: String) throws -> (String, Int) {
        guard let colon = address.lastIndex(of: ":"), let port = Int(address[address.index(after: colon)...]) else {
            throw ValidationError("'\(address)' is not host:port")
        }
        return (String(address[..<colon]), port)
    }

    /// Plans connections; their users' tokens allow the threads.
    func crowd(
        _ count: Int,
        users: Int,
        concurrency: Int = 64,
        path: String? = nil,
        threads: [String] = []
    ) throws -> Crowd.Settings {
        let (host, port) = try Self.split(options.client)
        return Crowd.Settings(
            host: host,
            port: port,
            path: path ?? options.path,
            count: count,
            users: users,
            concurrency: concurrency,
            tokens: try tokens(users, threads),
            areSessions: options.sessions
        )
    }

    /// Returns tokens for so many users; a command that prints them is run only once for each.
    func tokens(_ users: Int, _ threads: [String]) throws -> Tokens {
        if let known = knownTokens[users] { return known }
        let names = (0..<users).map { Crowd.user($0, of: users) }
        let tokens = try options.tokens(for: names, threads: threads)
        knownTokens[users] = tokens
        return tokens
    }

    func publisher() throws -> NIOLoopBound<Publisher> {
        try Publisher.connect(to: options.apiAddress(), on: loop).wait()
    }

    /// Runs something on the loop until its promise is fulfilled, or the time is over.
    func wait(_ start: @escaping @Sendable (any EventLoop, EventLoopPromise<Void>) -> Void) throws {
        let loop = loop
        let promise = loop.makePromise(of: Void.self)
        let limit = loop.scheduleTask(in: .seconds(Int64(options.limit))) {
            promise.fail(Failed(description: "the run did not finish in time (--limit)"))
        }
        loop.execute { start(loop, promise) }
        defer { limit.cancel() }
        try promise.futureResult.wait()
    }

    func cost() -> ServerCost? { serverPid.map { ServerCost.read(of: $0) } }

    /// Asks the API for a worker's pid, and returns its parent: the supervisor, which with its descendants is the
    /// server.
    private func findServer() throws -> Int? {
        guard let bound = try? publisher() else { return nil }
        let promise = loop.makePromise(of: String.self)
        loop.execute { bound.value.get("/v1/stats") { _, body in promise.succeed(body) } }
        let body = try promise.futureResult.wait()
        guard let mark = body.range(of: "\"pid\":"),
            let pid = Int(body[mark.upperBound...].prefix { $0.isNumber })
        else { return nil }
        return ServerCost.parent(of: pid)
    }
}
