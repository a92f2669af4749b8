// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

/// Sockets that record what they are sent.
final class RecordingTransport: Transport, @unchecked Sendable {
    // Unchecked: used only on the manager's executor, and read by tests after awaiting the manager.
    private(set) var sent: [Int: [String]] = [:]
    private(set) var closed: [Int: UInt16] = [:]
    private(set) var prepared = 0
    private(set) var released = 0
    var failing: [Int: SendFailure] = [:]
    private var frames: [UInt32: String] = [:]

    func prepare(_ text: Span<UInt8>) throws(SendFailure) -> PreparedFrame {
        prepared += 1
        frames[UInt32(prepared)] = String(decoding: text.indices.map { text[$0] }, as: UTF8.self)
        return PreparedFrame(reference: UInt32(prepared), byteCount: UInt32(text.count + 2))
    }

    func send(_ frame: PreparedFrame, to handle: Int) -> SendOutcome {
        if let failure = failing[handle] { return .failed(failure) }
        sent[handle, default: []].append(frames[frame.reference] ?? "?")
        return .queued
    }

    func release(_ frame: PreparedFrame) {
        released += 1
        frames[frame.reference] = nil
    }

    func close(_ handle: Int, code: UInt16, reason: String) { closed[handle] = code }
    func isOpen(_ handle: Int) -> Bool { closed[handle] == nil }
    func queuedBytes(_ handle: Int) -> Int { 0 }
}

extension WebSocketManager {
    func add(_ id: String, user: String, handle: Int) {
        add(WebSocketConnection(id: ConnectionID(id), user: user, handle: handle, connectedAt: 1000))
    }

    func send(_ text: String, toUser user: String) throws -> Delivery {
        try send(Array(text.utf8).span, toUser: user)
    }

    func broadcast(_ text: String, excluding users: [String] = []) throws -> Delivery {
        try broadcast(Array(text.utf8).span, excluding: users)
    }

    func send(_ text: String, toConnection id: String) throws -> Delivery {
        try send(Array(text.utf8).span, toConnection: ConnectionID(id))
    }
}

@Suite struct WebSocketManagerTests {
    let transport = RecordingTransport()
    let manager: WebSocketManager

    init() {
        nonisolated(unsafe) let transport: any Transport = transport
        manager = WebSocketManager(executor: SerialQueue(), transport: transport)
    }

    @Test func `a message to a user reaches each of their connections once and nobody else`() async throws {
        await manager.add("a1", user: "alice", handle: 1)
        await manager.add("a2", user: "alice", handle: 2)
        await manager.add("b1", user: "bob", handle: 3)
        let delivery = try await manager.send("{}", toUser: "alice")
        #expect(delivery == Delivery(matched: 2, delivered: 2))
        #expect(transport.sent == [1: ["{}"], 2: ["{}"]])
        #expect(transport.prepared == 1 && transport.released == 1, "framed once, however many connections")
    }

    @Test func `the receipt of a message to nobody says so`() async throws {
        #expect(try await manager.send("1", toUser: "nobody") == Delivery())
        #expect(try await manager.send("1", toConnection: "nothing") == Delivery())
        #expect(try await manager.broadcast("1") == Delivery())
        #expect(transport.prepared == 0)
    }

    @Test func `a broadcast leaves out the users it excludes`() async throws {
        for (index, user) in ["a", "b", "c", "b"].enumerated() {
            await manager.add("\(index)", user: user, handle: index)
        }
        let delivery = try await manager.broadcast("1", excluding: ["b", "nobody"])
        #expect(delivery == Delivery(matched: 2, delivered: 2))
        #expect(Set(transport.sent.keys) == [0, 2])
    }

    @Test func `a connection that cannot take a message leaves every index and is closed with the reason`() async throws
    {
        await manager.add("good", user: "u", handle: 1)
        await manager.add("slow", user: "u", handle: 2)
        await manager.add("dead", user: "v", handle: 3)
        transport.failing = [2: .queueFull, 3: .closed]
        let delivery = try await manager.broadcast("1")
        #expect(delivery == Delivery(matched: 3, delivered: 1, failed: 2))
        #expect(transport.closed == [2: CloseReason.tooSlow.code, 3: CloseReason.internalError.code])
        #expect(await manager.connections(ofUser: "u").map(\.id.text) == ["good"])
        #expect(await manager.connections(ofUser: "v").isEmpty)
        #expect(await manager.connection(ConnectionID("slow")) == nil)
        #expect(await manager.inconsistencies == [])
    }

    @Test func `of two connections with one id the newer wins and the older is closed with 4409`() async throws {
        await manager.add("same", user: "user1", handle: 1)
        await manager.add("same", user: "user2", handle: 2)
        #expect(transport.closed == [1: CloseReason.replaced.code])
        #expect(try await manager.send("1", toUser: "user1") == Delivery())
        #expect(try await manager.send("1", toUser: "user2") == Delivery(matched: 1, delivered: 1))
        #expect(transport.sent == [2: ["1"]])
        #expect(await manager.inconsistencies == [])
    }

    @Test func `disconnecting one connection leaves the user's others`() async throws {
        await manager.add("x", user: "u", handle: 1)
        await manager.add("y", user: "u", handle: 2)
        #expect(await manager.disconnect(connection: ConnectionID("x"), code: 4000, reason: "") == 1)
        #expect(await manager.disconnect(connection: ConnectionID("x"), code: 4000, reason: "") == 0)
        #expect(transport.closed == [1: 4000])
        #expect(try await manager.send("1", toUser: "u") == Delivery(matched: 1, delivered: 1))
        #expect(await manager.disconnect(user: "u", code: 1000, reason: "") == 1)
        #expect(await manager.statistics(byUser: true).connectionsByUser == [:])
    }

    @Test func `messages to one user are sent in the order of the calls`() async throws {
        await manager.add("x", user: "u", handle: 1)
        for number in 0..<100 { _ = try await manager.send("\(number)", toUser: "u") }
        #expect(transport.sent[1] == (0..<100).map(String.init))
    }

    @Test func `statistics agree with each other after any operations`() async throws {
        for number in 0..<100 { await manager.add("c\(number)", user: "用户\(number % 7)", handle: number) }
        for number in stride(from: 0, to: 100, by: 3) { await manager.remove(ConnectionID("c\(number)")) }
        _ = try await manager.broadcast("12345")
        let statistics = await manager.statistics(byUser: true)
        #expect(statistics.connections == 66)
        #expect(statistics.users == 7)
        #expect(statistics.connectionsByUser?.values.reduce(0, +) == 66)
        #expect(statistics.counters[.messagesSent] == 66)
        #expect(statistics.counters[.bytesSent] == 330)
    }

    @Test func `100,000 random operations agree with a simple model`() async throws {
        var model: [String: String] = [:]  // id -> user
        var generator = SplitMix(state: 42)
        for step in 0..<100_000 {
            let id = "c\(generator.next() % 300)"
            let user = "u\(generator.next() % 40)"
            switch generator.next() % 4 {
            case 0, 1:
                await manager.add(id, user: user, handle: step)
                model[id] = user
            case 2:
                #expect(await manager.remove(ConnectionID(id))?.user == model.removeValue(forKey: id))
            default:
                let expected = model.values.count { $0 == user }
                #expect(try await manager.send("1", toUser: user).delivered == expected)
            }
            if step % 1000 == 0 { #expect(await manager.inconsistencies == []) }
        }
        let byUser = Dictionary(grouping: model.values.map { ExactText($0) }) { $0 }.mapValues(\.count)
        #expect(await manager.statistics(byUser: true).connectionsByUser == byUser)
        #expect(await manager.inconsistencies == [])
    }
}

/// Repeatable random numbers (splitmix64).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
