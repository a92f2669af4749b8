// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// What was sent while a client was away follows when it is back: byte for byte, once, in order, and its own messages are
/// handled once.
@Suite(.serialized) struct SessionsOutliveSocketsTests {
    private func numbers(_ range: ClosedRange<Int>) -> [String] { range.map(String.init) }

    @Test func `what a client has not received follows, then what is new, whatever it has confirmed`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            let first = try await clients.connect("a", server, user: "u", "new")
            #expect(first.session != nil && first.resumeWindowMs == 120_000 && first.resumed == nil)
            try await server.publish(1...10, to: "u")
            _ = try await clients.messages("a", count: 10)
            clients.breakConnection("a")
            try await server.waitForWaiting(1, of: "u")
            #expect(try await server.publish(11...20, to: "u") == .init(matched: 1, delivered: 0, held: 1))
            // The last four of the first ten were on their way, as far as the client says.
            let second = try await clients.resume("b", server, user: "u", first, received: 6)
            #expect(second.resumed == true && second.replay == 14 && second.received == 0)
            #expect(second.connectionId == first.connectionId && second.session != first.session)
            #expect(try await server.publish(21...22, to: "u") == .init(matched: 1, delivered: 1))
            #expect(try await clients.messages("b", count: 16) == numbers(7...22))
            // What was confirmed is gone; what was not is sent again, as often as it takes.
            clients.send("b", "{\"type\":\"ack\",\"received\":20}")
            clients.send("b", "{\"type\":\"ping\"}")
            _ = try await clients.messages("b", count: 17)
            for (round, count) in [20, 21, 22].enumerated() {
                let name = "c\(round)"
                let again = try await clients.resume(name, server, user: "u", second, received: count)
                // The pong counts as any other text, and the client has it, or not.
                #expect(again.resumed == true && again.replay == 23 - count && again.received == 2, "\(again)")
                let texts = try await clients.messages(name, count: 23 - count)
                #expect(texts.dropLast() == numbers(count + 1...23).dropLast()[...])
                #expect(texts.last?.contains("\"received\":2") == true)
            }
            let confirmed = try await clients.resume("d", server, user: "u", second, received: 19)
            #expect(confirmed.resumed == false && confirmed.resumeError == "overflow")
        }
    }

    @Test func `a session is resumed before its first message, again and again, and after answers that were lost`()
        async throws
    {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            var greeting = try await clients.connect("0", server, user: "u", "new")
            for round in 1...10 {
                clients.breakConnection("\(round - 1)")
                // The answer to the first attempt is lost: the client has the older token only.
                _ = try await clients.resume("\(round) lost", server, user: "u", greeting, received: 0)
                clients.breakConnection("\(round) lost")
                greeting = try await clients.resume("\(round)", server, user: "u", greeting, received: 0)
                #expect(greeting.resumed == true && greeting.replay == 0 && greeting.received == 0, "\(round)")
            }
            try await server.publish(1...1, to: "u")
            #expect(try await clients.messages("10", count: 1) == ["1"])
            #expect(try await server.statistics().totalConnections == 1)
        }
    }

    @Test func `once a client has spoken, older tokens are worth nothing`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            let first = try await clients.connect("a", server, user: "u", "new")
            let second = try await clients.resume("b", server, user: "u", first, received: 0)
            clients.send("b", "{\"type\":\"ping\"}")
            _ = try await clients.messages("b", count: 1)
            let stolen = try await clients.resume("c", server, user: "u", first, received: 0)
            #expect(stolen.resumed == false && stolen.resumeError == "unknown")
            #expect(stolen.connectionId != second.connectionId && stolen.session != nil)
            // The session does not suffer from that.
            try await server.publish(1...1, to: "u")
            #expect(try await clients.messages("b", count: 2).last == "1")
        }
    }

    @Test func `a request that was given up and comes late takes nothing from the client for good`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            let first = try await clients.connect("a", server, user: "u", "new")
            clients.breakConnection("a")
            let live = try await clients.resume("b", server, user: "u", first, received: 0)
            // The one that was given up used the same token, and comes only now.
            let late = try await clients.resume("late", server, user: "u", first, received: 0)
            #expect(late.resumed == true)
            // So its client comes back, with a token that is good still.
            #expect(try await clients.closeCode("b") == 1012)
            let again = try await clients.resume("c", server, user: "u", live, received: 0)
            #expect(again.resumed == true && again.connectionId == first.connectionId)
            try await server.publish(1...1, to: "u")
            #expect(try await clients.messages("c", count: 1) == ["1"])
            clients.send("c", "{\"type\":\"ack\",\"received\":1}")
            clients.send("c", "{\"type\":\"ping\"}")
            _ = try await clients.messages("c", count: 2)
            // Once a message has come, none of the others is good.
            for (number, greeting) in [first, live, late].enumerated() {
                let stale = try await clients.resume("stale \(number)", server, user: "u", greeting, received: 0)
                #expect(stale.resumed == false && stale.resumeError == "unknown")
            }
        }
    }

    @Test func `a resume takes the session from a socket that looks alive, and nothing is heard from that one again`()
        async throws
    {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            let first = try await clients.connect("a", server, user: "u", "new", "&thread_id=t")
            try await server.publish(1...3, to: "u")
            _ = try await clients.messages("a", count: 3)
            let second = try await clients.resume("b", server, user: "u", first, received: 3)
            #expect(second.resumed == true && second.replay == 0)
            clients.send("a", "{\"type\":\"leave_thread\",\"thread_id\":\"t\"}")
            #expect(try await clients.closeCode("a") == 4409)
            let answer = try await server.request("POST", "/v1/threads/t/messages", body: "4")
            #expect(try answer.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1))
            #expect(try await clients.messages("b", count: 1) == ["4"])
            #expect(try await server.statistics().shards.map(\.slotsInUse).reduce(0, +) == 1)
        }
    }

    @Test func `a client's message is handled once, and the answer that was lost comes again`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            var greeting = try await clients.connect("0", server, user: "u", "new")
            var received = 0
            for round in 1...12 {
                // It is in the kernel when the connection breaks, or not: the server says which.
                clients.send("\(round - 1)", "{\"type\":\"join_thread\",\"thread_id\":\"t\(round)\"}")
                if round.isMultiple(of: 3) {
                    received = try await clients.messages("\(round - 1)", count: 1).count + received
                }
                clients.breakConnection("\(round - 1)")
                greeting = try await clients.resume("\(round)", server, user: "u", greeting, received: received)
                #expect(greeting.resumed == true)
                let handled = try #require(greeting.received)
                #expect((round - 1...round).contains(handled), "\(handled) of \(round)")
                if handled < round {
                    clients.send("\(round)", "{\"type\":\"join_thread\",\"thread_id\":\"t\(round)\"}")
                }
                let texts = try await clients.messages("\(round)", count: round - received)
                let expected = (received + 1...max(round, received + 1)).map {
                    "{\"type\":\"thread_joined\",\"thread_id\":\"t\($0)\"}"
                }
                #expect(texts == (round > received ? expected : []), "\(texts)")
                received = round
            }
        }
    }

    @Test func `a waiting session is as good as a connection in its rooms, and is listed`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            let first = try await clients.connect("a", server, user: "u", "new", "&job_id=j")
            clients.breakConnection("a")
            try await server.waitForWaiting(1, of: "u")
            for path in ["/v1/jobs/j/messages", "/v1/broadcast", "/v1/connections/\(first.connectionId)/messages"] {
                let answer = try await server.request("POST", path, body: "\"\(path)\"")
                #expect(
                    try answer.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 0, held: 1),
                    "\(path)"
                )
            }
            // What a backend does for a user is done for the session, too.
            #expect(try await server.request("PUT", "/v1/threads/t/users/u").status == 200)
            let bound = try await server.request("POST", "/v1/threads/t/messages", body: "5")
            #expect(try bound.decoded(TestServer.Receipt.self).held == 1)
            let statistics = try await server.statistics()
            #expect(statistics.totalConnections == 0 && statistics.uniqueUsers == 1)
            let metrics = try await server.request("GET", "/metrics").body
            #expect(
                metrics.contains("martlet_messages_held_total{shard=\"0\"} ") && metrics.contains("_waiting{shard=")
            )
            let second = try await clients.resume("b", server, user: "u", first, received: 0)
            #expect(second.replay == 4)
            #expect(try await clients.messages("b", count: 4).last == "5")
        }
    }

    @Test func `a message that was compressed comes to a client that did not agree to that, and the other way round`()
        async throws
    {
        try await TestServer.with { server in
            let script = WebSocketClients.script("session_compression.py")
            let run = try await Subprocess.run(WebSocketClients.python, [script, server.client, server.api])
            #expect(run.code == 0, "\(run.output)\(run.error)")
        }
    }

    @Test func `clients that ask for no session see what they saw before there were any`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            _ = try await clients.attempt("a", server.webSocket("u"))
            let greeting = try await clients.greeting("a")
            let pattern = #/\{"type":"connection_established","connection_id":"\w{15}","user_id":"u",/#
            #expect(greeting.prefixMatch(of: pattern) != nil && !greeting.contains("session"), "\(greeting)")
            clients.send("a", "{\"type\":\"ping\"}")
            clients.send("a", "{\"type\":\"nonsense\"}")
            let texts = try await clients.messages("a", count: 2)
            #expect(!texts[0].contains("received") && !texts[1].contains("number"), "\(texts)")
            clients.breakConnection("a")
            try await server.waitForStatistics("nobody") { $0.totalConnections == 0 && $0.uniqueUsers == 0 }
            #expect(try await server.publish(1...1, to: "u") == .init(matched: 0, delivered: 0))
        }
    }
}
