// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// TCP's urgent data, which `recv` skips by default, does not shift any position in the stream.
///
/// A client that sends it is served like any other, through everything that happens to the workers, and never gets
/// bytes of other clients.
@Suite(.serialized) struct UrgentDataIsDataTests {
    private struct Answer: Decodable {
        let texts: [String]
        let end: String?
    }

    /// Sends the client a line, and returns what it saw.
    private static func tell(_ client: Subprocess, _ line: String, _ number: Int) async throws -> Answer {
        client.write(line)
        try await client.lines.wait("answer \(number) to \(line)", seconds: 30) { $0.count >= number }
        let text = await client.lines.events[number - 1].text
        return try JSONDecoder().decode(Answer.self, from: Data(text.utf8))
    }

    @Test func `through a restart, a crash and a new number of workers a client goes on, with only its own messages`()
        async throws
    {
        let environment = ["MARTLET_LIMITS_MESSAGES_PER_SECOND": "0"]
        try await TestServer.with(environment: environment) { server in
            let others = try WebSocketClients()
            let names = (0..<20).map { "other-\($0)" }
            try await others.open(names.map { ($0, server.webSocket($0)) })
            let client = try Subprocess(
                WebSocketClients.python,
                [WebSocketClients.script("urgent.py"), server.client, "/ws?user=urgent"]
            )
            var number = 0
            func say(_ line: String) async throws -> Answer {
                number += 1
                return try await Self.tell(client, line, number)
            }
            #expect(try await say("urgent 40").end == nil)
            let happenings = [
                ("a restart", ["restart", "--all"]), ("more workers", ["scale", "3"]), ("fewer", ["scale", "2"]),
            ]
            for (what, command) in happenings {
                // The messages of others are in the memory where the next bytes are received.
                for name in names { others.send(name, "{\"type\":\"secret-of-\(name)\"}") }
                let done = try await server.control(command)
                #expect(done.code == 0, "\(what): \(done.error)")
                let answer = try await say("urgent 10")
                #expect(answer.end == nil, "\(what)")
                #expect(answer.texts.count == 10 && answer.texts.allSatisfy { $0.contains("\"pong\"") }, "\(answer)")
            }
            for name in names { others.send(name, "{\"type\":\"secret-of-\(name)\"}") }
            for shard in try await server.statistics().shards { kill(shard.pid, SIGKILL) }
            let last = try await say("ping")
            #expect(last.end == nil && last.texts.allSatisfy { $0.contains("\"pong\"") }, "\(last)")
            #expect(await others.events.events.allSatisfy { $0.ev != "closed" })
            let kept = try await server.statistics().shards.compactMap(\.lastRestart)
            #expect(kept.allSatisfy { $0.connectionsLost == 0 })
            client.closeInput()
        }
    }
}
