// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// A backend that does not know the length of what it sends may send it in chunks: RFC 9112, 7.1, says that it can rely on that.
@Suite(.serialized) struct BodiesInChunksAreTakenTests {
    private static let chunked = ["-H", "Transfer-Encoding: chunked", "-H", "Content-Type: application/json"]

    @Test func `a publish in chunks reaches its user byte for byte, and the connection stays`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            let long = "{\"text\":\"" + String(repeating: "0123456789abcdef", count: 6000) + "\"}"
            for body in ["{\"n\": 1}", long, "2"] {
                let file = server.folder + "/body"
                try body.write(toFile: file, atomically: true, encoding: .utf8)
                let answer = try await server.request(
                    "POST",
                    "/v1/users/alice/messages",
                    body: "@\(file)",
                    Self.chunked
                )
                #expect(
                    answer.status == 200 && answer.body == "{\"matched\":1,\"delivered\":1,\"held\":0,\"failed\":0}",
                    "\(answer)"
                )
            }
            #expect(try await clients.messages("a", count: 3) == ["{\"n\": 1}", long, "2"])
            // A generator's body goes out in chunks, one for each piece, on a connection that is used again.
            let script = """
                import http.client, json, sys
                connection = http.client.HTTPConnection(sys.argv[1])
                for n in range(3):
                    pieces = iter([b'{"n"', b': ', str(n).encode(), b'}'])
                    connection.request("POST", "/v1/users/alice/messages", pieces, {"Content-Type": "application/json"})
                    print(connection.getresponse().read().decode())
                """
            let run = try await Subprocess.run("/usr/bin/python3", ["-c", script, server.api])
            #expect(run.output.split(separator: "\n").count == 3, "\(run)")
            #expect(try await clients.messages("a", count: 6)[3...] == ["{\"n\": 0}", "{\"n\": 1}", "{\"n\": 2}"])
        }
    }

    @Test func `a batch in chunks is answered line by line while it is still being written`() async throws {
        try await TestServer.with { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            // It writes a line only when it has read the receipt of the previous one.
            let script = """
                import http.client, sys
                connection = http.client.HTTPConnection(sys.argv[1], timeout=20)
                connection.putrequest("POST", "/v1/batch")
                connection.putheader("Content-Type", "application/x-ndjson")
                connection.putheader("Transfer-Encoding", "chunked")
                connection.endheaders()
                answer = None
                for n in range(1, 6):
                    line = b'{"user":"alice","message":%d}\\n' % n
                    connection.send(b"%x\\r\\n%s\\r\\n" % (len(line), line))
                    answer = answer or connection.getresponse()
                    print(answer.readline().decode(), end="")
                connection.send(b"0\\r\\n\\r\\n")
                print(answer.read())
                """
            let run = try await Subprocess.run("/usr/bin/python3", ["-c", script, server.api])
            let receipt = "{\"matched\":1,\"delivered\":1,\"held\":0,\"failed\":0}\n"
            #expect(run.output == String(repeating: receipt, count: 5) + "b''\n", "\(run)")
            #expect(try await clients.messages("a", count: 5) == ["1", "2", "3", "4", "5"])
        }
    }

    @Test
    func `what is malformed, too large, or has a length as well is refused, and is never read as another request`()
        async throws
    {
        try await TestServer.with(environment: ["MARTLET_API_MAX_BODY_BYTES": "1024"]) { server in
            let head = "POST /v1/users/u/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            let hidden = "0\r\n\r\nGET /v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n"
            let table = [
                (head + "\r\n1\r\n1\r\n0\r\n\r\n", 200), (head + "\r\nx\r\n", 400), (head + "\r\n401\r\n", 413),
                (head + "Content-Length: 5\r\n\r\n" + hidden, 400),
                (head.replacing("chunked", with: "chunked, gzip") + "\r\n" + hidden, 501),
                (head.replacing("HTTP/1.1", with: "HTTP/1.0") + "\r\n" + hidden, 400),
                // The answer has begun, and is cut short.
                (
                    head.replacing("users/u/messages", with: "batch") + "Content-Type: application/x-ndjson\r\n\r\n"
                        + "1f\r\n{\"user\":\"alice\",\"message\":\"x\"}\n\r\n||zz\r\n", -200
                ),
                (head.replacing("chunked", with: "xchunked") + "\r\n" + hidden, 501),
                (head.replacing("Transfer-Encoding:", with: "Transfer-Encoding :") + "\r\n" + hidden, 400),
            ]
            let texts = String(decoding: try JSONEncoder().encode(table.map(\.0)), as: UTF8.self)
            let script = WebSocketClients.script("raw_http.py")
            let run = try await Subprocess.run("/usr/bin/python3", [script, server.api], input: texts)
            let answers = try JSONDecoder().decode([Answer].self, from: Data(run.output.utf8))
            for (row, answer) in zip(table, answers) {
                #expect(answer.status == abs(row.1) && answer.seconds < 20, "\(row.0): \(answer)")
                #expect(row.1 == 200 || (answer.isClosed && !answer.more.contains("HTTP/1.1 200")), "\(answer)")
            }
        }
    }

    private struct Answer: Decodable {
        let status: Int
        let more: String
        let isClosed: Bool
        let seconds: Double
    }
}
