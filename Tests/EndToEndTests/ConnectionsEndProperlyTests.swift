// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Every connection ends with the code that says why, and leaves nothing behind.
@Suite(.serialized) struct ConnectionsEndProperlyTests {
    @Test func `on SIGTERM clients get 1001 and the server exits with 0`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open((0..<50).map { ("c\($0)", server.webSocket("user-\($0)")) })
            #expect(try await server.stop() == 0)
            for number in 0..<50 { #expect(try await clients.closeCode("c\(number)") == 1001) }
            #expect(!FileManager.default.fileExists(atPath: server.controlSocket))
            // The last line of its log may arrive after its end.
            try await server.process.lines.wait("last line", seconds: 10) { lines in
                lines.last?.text.contains("Stopped") == true
            }
            let log = await server.log()
            #expect(!log.contains { $0.contains(" error ") })
        }
    }

    @Test func `a client that does not answer the close frame does not delay the end of the server`() async throws {
        try await TestServer.with(environment: ["MARTLET_SUPERVISION_HANDOVER_TIMEOUT": "2s"]) { server in
            let script = """
                import base64, os, socket, sys
                host, port = sys.argv[1].split(":")
                s = socket.create_connection((host, int(port)), 30)
                key = base64.b64encode(os.urandom(16)).decode()
                s.sendall(("GET /ws?user=mute HTTP/1.1\\r\\nHost: localhost\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                           "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: %s\\r\\n\\r\\n" % key).encode())
                print("open", flush=True)
                data = b""
                while piece := s.recv(4096): data += piece
                print("1001" if bytes([0x88]) in data and b"\\x03\\xe9" in data else data, flush=True)
                """
            let mute = try Subprocess("/usr/bin/python3", ["-c", script, server.client])
            try await server.waitForStatistics("the mute client") { $0.totalConnections == 1 }
            #expect(try await server.stop() == 0)
            try await mute.lines.wait("its end") { $0.contains { $0.text == "1001" } }
        }
    }

    @Test func `messages that a client must not send end with the right code, and pings are answered`() async throws {
        try await TestServer.with(environment: ["MARTLET_CLIENT_MAX_MESSAGE_BYTES": "1000"]) { server in
            let clients = try WebSocketClients()
            try await clients.open(["binary", "giant", "fragments", "talk"].map { ($0, server.webSocket($0)) })
            clients.send("binary", hex: "00ff")
            clients.send("giant", String(repeating: "x", count: 1001))
            clients.send("fragments", fragments: Array(repeating: String(repeating: "x", count: 300), count: 4))
            #expect(try await clients.closeCode("binary") == 1003)
            #expect(try await clients.closeCode("giant") == 1009)
            #expect(try await clients.closeCode("fragments") == 1009)
            clients.ping("talk")
            try await clients.events.wait("pong") { $0.contains { $0.ev == "pong" } }
            for text in ["{\"type\":\"ping\"}", "{\"type\":\"dance\"}", "no json"] { clients.send("talk", text) }
            let answers = try await clients.messages("talk", count: 3)
            #expect(answers[0].hasPrefix("{\"type\":\"pong\",\"timestamp\":\"20"))
            #expect(answers[1].hasPrefix("{\"type\":\"error\",\"code\":\"unsupported_type\""))
            #expect(answers[2].hasPrefix("{\"type\":\"error\",\"code\":\"invalid_json\""))
            #expect(try await server.statistics().messages.received == 4)
        }
    }

    @Test func `a client that does not read is closed with 4508 while others get everything`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("slow", server.webSocket("slow")), ("good", server.webSocket("good"))])
            clients.pause("slow")
            let body = server.folder + "/body.json"
            try ("\"" + String(repeating: "x", count: 300_000) + "\"").write(
                toFile: body,
                atomically: true,
                encoding: .utf8
            )
            var failed = 0
            var count = 0
            while failed == 0, count < 200 {
                let receipt = try await server.request("POST", "/v1/broadcast", body: "@\(body)").decoded(
                    TestServer.Receipt.self
                )
                failed += receipt.failed
                count += 1
            }
            #expect(failed == 1)
            #expect(try await clients.messages("good", count: count).count == count)
            try await server.waitForStatistics("the slow one gone") {
                $0.totalConnections == 1 && $0.messages.failed == 1
            }
            #expect(try await server.statistics().messages.dropped > 0)
        }
    }

    @Test func `after 3,000 connections have come and gone, everything is as it was before`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("warm", server.webSocket("warm"))])
            clients.close("warm")
            try await server.waitForStatistics("the start") {
                $0.totalConnections == 0 && $0.shards.allSatisfy { $0.slotsInUse == 0 }
            }
            let pids = try await server.statistics().shards.map(\.pid)
            func descriptors() -> [Int] {
                pids.map { (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\($0)/fd").count) ?? -1 }
            }
            let before = descriptors()
            for _ in 0..<3 {
                let run = try await Subprocess.run(
                    TestServer.binaries + "/martlet-load",
                    ["connect", "-c", "1000", "--client", server.client, "--api", server.api, "--json"]
                )
                #expect(run.code == 0, "\(run.output) \(run.error)")
            }
            try await server.waitForStatistics("no slot in use") { statistics in
                statistics.totalConnections == 0
                    && statistics.shards.allSatisfy { $0.slotsInUse == 0 && $0.queueBytes == 0 }
            }
            // Connections for statistics come and go too: at most one for each worker.
            for (now, then) in zip(descriptors(), before) { #expect(now <= then + 1) }
        }
    }
}
