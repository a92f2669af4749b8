// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import Support
import Testing

/// A worker that is killed, hangs or traps drops no client and loses nothing.
@Suite(.serialized) struct CrashesAreNotNoticedTests {
    @Test func `under repeated kill -9 nothing is dropped, lost, duplicated or reordered`() async throws {
        try await TestServer.with { server in
            let report = try await Continuity.run(server, connections: 100, seconds: 12, every: 0.8)
            if report.dropped > 0 { print(try await server.request("GET", "/metrics").body) }
            #expect(report.dropped == 0 && report.problems == [], "\(report)")
            #expect(report.kills >= 5 && report.unicast > 100 && report.echo > 100)
            let shards = try await server.statistics().shards
            #expect(shards.reduce(0) { $0 + $1.restarts } == report.kills)
            let last = try #require(shards.compactMap(\.lastRestart).first)
            #expect(last.reason == "crash: signal 9" && last.connectionsLost == 0)
        }
    }

    @Test(arguments: [false, true])
    func `a client that leaves a room just when its worker ends is told once that it has left`(
        isResumed: Bool
    ) async throws {
        let faults = Faults()
        try faults.plan("left kill 1")
        defer { faults.remove() }
        try await TestServer.with(workers: 1, environment: ["MARTLET_FAULTS": faults.path]) { server in
            let clients = try WebSocketClients()
            let greeting = try await clients.connect("a", server, user: "u", "new", "&thread_id=t")
            let leave = "{\"type\":\"leave_thread\",\"thread_id\":\"t\"}"
            clients.send("a", leave)
            if isResumed {
                // The network goes at the same time, so that the message comes again over another socket.
                clients.breakConnection("a")
                try await server.waitForStatistics("the next worker") {
                    $0.shards[0].generation == 2 && $0.shards[0].state == "serving"
                }
            }
            let name = isResumed ? "b" : "a"
            var answers = 1
            if isResumed {
                let again = try await clients.resume("b", server, user: "u", greeting, received: 0)
                // What had arrived may have been handled by the next worker, or not.
                if again.received == 0 { clients.send("b", leave) }
            }
            clients.send(name, "{\"type\":\"ping\"}")
            answers += 1
            let texts = try await clients.messages(name, count: answers)
            #expect(texts[0] == "{\"type\":\"thread_left\",\"thread_id\":\"t\"}")
            #expect(texts[1].contains("pong") && texts[1].contains("\"received\":2"))
            #expect(try await server.statistics().shards[0].generation == 2)
            let answer = try await server.request("POST", "/v1/threads/t/messages", body: "1")
            #expect(try answer.decoded(TestServer.Receipt.self).matched == 0)
        }
    }

    @Test func `clients that a broadcast had not reached when a worker died get it after all, and none gets it twice`()
        async throws
    {
        // Each worker has about 2,500 of the 5,000 connections, and dies in the middle of its second broadcast.
        let faults = Faults()
        try faults.plan("delivery kill 1 3100")
        try await TestServer.with(environment: ["MARTLET_FAULTS": faults.path]) { server in
            let run = try await Subprocess.run(
                TestServer.binaries + "/martlet-load",
                [
                    "continuity", "-c", "5000", "--seconds", "6", "--publish-pause", "500", "--broadcast-interval",
                    "500",
                    "--client", server.client, "--api", server.api, "--json",
                ]
            )
            try #require(run.code == 0, "\(run.output) \(run.error)")
            #expect(run.output.contains("\"broken\":[]"))
            let shards = try await server.statistics().shards
            let haveDied = shards.allSatisfy { $0.restarts > 0 && $0.lastRestart?.connectionsLost == 0 }
            #expect(haveDied, "\(shards) \(run.output)")
        }
        faults.remove()
    }

    @Test(arguments: [256, 512, 1023])
    func `if only few files may be open, a crash and a restart drop nobody either`(_ openFiles: Int) async throws {
        try await TestServer.with(openFiles: openFiles) { server in
            let clients = try WebSocketClients()
            let users = (0..<20).map { "user-\($0)" }
            try await clients.open(users.map { ($0, server.webSocket($0)) })
            for shard in try await server.statistics().shards { kill(shard.pid, SIGKILL) }
            try await server.waitForStatistics("all shards back") { statistics in
                statistics.shards.allSatisfy { $0.state == "serving" && $0.generation == 2 }
            }
            let restart = try await server.control(["restart", "--all"])
            #expect(restart.code == 0, "\(restart.error)")
            for user in users {
                #expect(try await server.publish("1", toUser: user) == .init(matched: 1, delivered: 1))
            }
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test(arguments: [128, 256, 1024])
    func `clients take no descriptors that backends, others on their way, or the next worker need`(
        _ openFiles: Int
    )
        async throws
    {
        try await TestServer.with(openFiles: openFiles) { server in
            let bound = try await server.log(with: "limits.connections")
            #expect(bound.contains { $0.contains("open_files=\(openFiles)") })
            let clients = try WebSocketClients()
            let users = (0..<openFiles * 2).map { "user-\($0)" }
            let answers = try await clients.attemptAll(users.map { ($0, server.webSocket($0)) })
            let opened = Set(answers.filter { $0.ev == "open" }.map(\.name))
            let refused = answers.filter { $0.ev == "refused" }
            #expect(opened.count >= openFiles / 8 && !refused.isEmpty)
            // Clients that came while too many were on their way to their shard may try again at once.
            let isTold = refused.allSatisfy { refusal in
                refusal.status == 503
                    && ["full", "shard_unavailable"].contains { refusal.body?.contains("\"code\":\"\($0)\"") == true }
            }
            #expect(isTold, "\(refused.filter { $0.status != 503 }.prefix(3))")
            // Backends are served, on both shards.
            for user in users.prefix(40) {
                let isOpen = opened.contains(user)
                #expect(try await server.publish("1", toUser: user).matched == (isOpen ? 1 : 0))
            }
            for shard in try await server.statistics().shards { kill(shard.pid, SIGKILL) }
            try await server.waitForStatistics("all shards back") { statistics in
                statistics.shards.allSatisfy { $0.state == "serving" && $0.generation == 2 }
            }
            let restart = try await server.control(["restart", "--all"])
            #expect(restart.code == 0, "\(restart.error)")
            for user in opened {
                #expect(try await server.publish("2", toUser: user) == .init(matched: 1, delivered: 1))
            }
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test func `a client whose connection cannot be taken over is told to reconnect`() async throws {
        let faults = Faults()
        try faults.plan("damage slot 1 0")
        try await TestServer.with(workers: 1, environment: ["MARTLET_FAULTS": faults.path]) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            try await clients.open([("b", server.webSocket("bob"))])
            #expect(try await server.control(["restart", "--all"]).code == 0)
            #expect(try await clients.closeCode("a") == 1012)
            #expect(try await server.publish("1", toUser: "bob") == .init(matched: 1, delivered: 1))
            #expect(try await server.publish("1", toUser: "alice") == .init(matched: 0, delivered: 0))
            let metrics = try await server.request("GET", "/metrics").body
            #expect(metrics.contains("martlet_closes_total{code=\"1012\"} 1"))
        }
        faults.remove()
    }

    @Test func `rooms, bindings, metadata and remembered answers outlive a worker`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([
                ("a", server.webSocket("alice", "&thread_id=first")), ("b", server.webSocket("bob")),
            ])
            clients.send("a", "{\"type\":\"join_thread\",\"thread_id\":\"second\"}")
            _ = try await clients.messages("a", count: 1)
            _ = try await server.request("PUT", "/v1/threads/third/users/alice")
            let key = ["-H", "Idempotency-Key: once"]
            let path = "/v1/users/alice/messages"
            #expect(try await server.request("POST", path, body: "1", key).status == 200)
            let before = try await server.statistics()
            for shard in before.shards { kill(shard.pid, SIGKILL) }
            try await server.waitForStatistics("all shards back") { statistics in
                statistics.shards.allSatisfy { $0.state == "serving" && $0.generation == 2 }
            }
            for thread in ["first", "second", "third"] {
                let answer = try await server.request("POST", "/v1/threads/\(thread)/messages", body: "\"\(thread)\"")
                #expect(try answer.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1))
            }
            #expect(try await server.request("POST", path, body: "1", key).status == 200)
            #expect(try await server.request("POST", path, body: "2", key).status == 422)
            #expect(try await server.publish("\"last\"", toUser: "alice") == .init(matched: 1, delivered: 1))
            let messages = try await clients.messages("a", count: 6)
            #expect(messages.dropFirst() == ["1", "\"first\"", "\"second\"", "\"third\"", "\"last\""])
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
            // Later messages work as usual.
            clients.send("b", "{\"type\":\"ping\"}")
            #expect(try await clients.messages("b", count: 1).count == 1)
        }
    }

    @Test func `a shard that has more rooms than fit into one frame is taken over like any other`() async throws {
        let faults = Faults()
        // Each piece has room for only one name.
        try faults.plan("rooms pieces 0 60")
        try await TestServer.with(environment: ["MARTLET_FAULTS": faults.path]) { server in
            let clients = try WebSocketClients()
            let rooms = (0..<40).map { "room-\(String(repeating: "x", count: 40))-\($0)" }
            try await clients.open(rooms.map { ($0, server.webSocket("user-of-\($0)", "&thread_id=\($0)")) })
            for room in rooms {
                let bound = try await server.request("PUT", "/v1/threads/bound-\(room)/users/user-of-\(room)")
                #expect(bound.body == "{\"changed\":true}")
            }
            func expectAllReached(_ what: Comment) async throws {
                for room in rooms.flatMap({ [$0, "bound-\($0)"] }) {
                    let sent = try await server.request("POST", "/v1/threads/\(room)/messages", body: "1")
                    #expect(try sent.decoded(TestServer.Receipt.self) == .init(matched: 1, delivered: 1), what)
                }
            }
            try await expectAllReached("as they were told")
            for shard in try await server.statistics().shards { kill(shard.pid, SIGKILL) }
            try await server.waitForStatistics("all shards back") { statistics in
                statistics.shards.allSatisfy { $0.state == "serving" && $0.generation == 2 }
            }
            try await expectAllReached("after a crash")
            #expect(try await server.control(["scale", "3"]).code == 0)
            try await expectAllReached("by other shards")
            #expect(try await server.statistics().threads == 80)
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
        faults.remove()
    }

    @Test func `a worker that hangs is replaced, and its clients notice nothing`() async throws {
        let environment = [
            "MARTLET_SUPERVISION_LIVENESS_INTERVAL": "100ms", "MARTLET_SUPERVISION_LIVENESS_TIMEOUT": "1s",
        ]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            let users = (0..<20).map { "user-\($0)" }
            try await clients.open(users.map { ($0, server.webSocket($0)) })
            let pid = try #require(try await server.statistics().shards.first?.pid)
            kill(pid, SIGSTOP)
            for user in users {
                let answer = try await server.request("POST", "/v1/users/\(user)/messages", body: "\"\(user)\"")
                #expect(answer.status == 200 || answer.status == 503 || answer.status == 0)
            }
            try await server.waitForStatistics("the shard back") { statistics in
                statistics.shards.allSatisfy { $0.state == "serving" } && statistics.shards[0].pid != pid
            }
            kill(pid, SIGCONT)
            for user in users {
                #expect(try await server.publish("\"after\"", toUser: user) == .init(matched: 1, delivered: 1))
            }
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test func `if all processes are halted and go on, no worker or client is blamed for it`() async throws {
        let environment = [
            "MARTLET_SUPERVISION_LIVENESS_INTERVAL": "100ms", "MARTLET_SUPERVISION_LIVENESS_TIMEOUT": "1s",
            "MARTLET_CLIENT_HEARTBEAT_INTERVAL": "500ms", "MARTLET_CLIENT_HEARTBEAT_TIMEOUT": "1s",
        ]
        try await TestServer.with(environment: environment) { server in
            let clients = try WebSocketClients()
            // These are more than one turn of the loop handles at once.
            let users = (0..<1200).map { "user-\($0)" }
            try await clients.open(users.map { ($0, server.webSocket($0)) })
            let family = try await server.statistics().shards.map(\.pid) + [server.process.pid]
            for round in 1...3 {
                for pid in family { kill(pid, SIGSTOP) }
                // This is longer than the timeout: the request is answered afterwards, or curl gives up.
                _ = try? await server.curl(["http://\(server.api)/healthz", "-m", "3"])
                for pid in family.reversed() { kill(pid, SIGCONT) }
                try await server.waitForStatistics("all shards, \(round)") { statistics in
                    statistics.shards.allSatisfy { $0.state == "serving" && $0.generation == 1 }
                }
                let closed = await clients.events.events.filter { $0.ev == "closed" }
                #expect(closed.isEmpty, "\(round): \(closed.map { "\($0.name) \($0.code ?? 0) \($0.reason ?? "")" })")
                #expect(try await server.statistics().totalConnections == users.count)
            }
            #expect(try await server.publish("1", toUser: "user-7") == .init(matched: 1, delivered: 1))
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test func `if the worker is halted between its pings and their sending, no client counts as silent`() async throws
    {
        let faults = Faults()
        // The worker is halted for two seconds, which is longer than the timeout.
        try faults.plan("pinged wait 0 2")
        let environment = [
            "MARTLET_FAULTS": faults.path,
            "MARTLET_CLIENT_HEARTBEAT_INTERVAL": "500ms", "MARTLET_CLIENT_HEARTBEAT_TIMEOUT": "1s",
        ]
        try await TestServer.with(workers: 1, environment: environment) { server in
            let clients = try WebSocketClients()
            let users = (0..<50).map { "user-\($0)" }
            try await clients.open(users.map { ($0, server.webSocket($0)) })
            try await server.log(with: "martlet-worker waits, as planned")
            // The clients are halted too, and go on a little later than the worker.
            clients.signal(SIGSTOP)
            #expect(try await server.request("GET", "/healthz").status == 200)
            clients.signal(SIGCONT)
            // Since then all clients have been pinged and checked again and again.
            try await server.waitForMetrics("ten pings of each") { metrics in
                let pings = metrics.firstMatch(of: /martlet_pings_total\{shard="0"\} (\d+)/)?.1
                return pings.flatMap { Int($0) } ?? 0 >= 10 * users.count
            }
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
        faults.remove()
    }

    @Test func `a keeper that ends alone is reported, and its worker is not replaced on request`() async throws {
        try await TestServer.with(workers: 1) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            let worker = try #require(try await server.statistics().shards.first?.pid)
            let keeper = try #require(children(server.process.pid).first { $0 != worker })
            kill(keeper, SIGKILL)
            try await server.process.lines.wait("line about the keeper") { lines in
                lines.contains { $0.text.contains("A keeper has ended") }
            }
            let restart = try await server.control(["restart", "--all"])
            #expect(restart.code == 1 && restart.error.contains("keeper"), "\(restart)")
            #expect(try await server.publish("1", toUser: "alice") == .init(matched: 1, delivered: 1))
            // When the worker ends too, its connections are lost: the next one serves at once, and reports it.
            kill(worker, SIGKILL)
            #expect(try await clients.closeCode("a") == 1006)
            try await server.waitForStatistics("a shard that begins anew") { statistics in
                statistics.shards[0].state == "serving" && statistics.shards[0].lastRestart?.connectionsLost == 1
            }
            let metrics = try await server.request("GET", "/metrics").body
            #expect(metrics.contains("martlet_closes_total{code=\"1006\"} 1"), "\(metrics)")
        }
    }

    @Test func `after many crashes the supervisor holds no more than before`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open((0..<10).map { ("c\($0)", server.webSocket("user-\($0)")) })
            var open: [Int] = []
            for round in 1...20 {
                for shard in try await server.statistics().shards { kill(shard.pid, SIGKILL) }
                try await server.waitForStatistics("all shards back") { statistics in
                    // Only two workers and their keepers are left.
                    statistics.shards.allSatisfy { $0.state == "serving" && $0.generation == round + 1 }
                        && children(of: server.process.pid) == 4
                }
                open.append(try FileManager.default.contentsOfDirectory(atPath: "/proc/\(server.process.pid)/fd").count)
            }
            #expect(Set(open.dropFirst()).count == 1, "descriptors by round: \(open)")
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    private func children(of pid: Int32) -> Int { children(pid).count }

    private func children(_ pid: Int32) -> [Int32] {
        let text = try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)
        return text?.split(separator: " ").compactMap { Int32($0) } ?? []
    }
}
