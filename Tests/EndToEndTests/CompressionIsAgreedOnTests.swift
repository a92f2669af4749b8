// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// Clients that offer compression get it, and send and receive the same as those that do not.
@Suite(.serialized) struct CompressionIsAgreedOnTests {
    private static let script = """
        import asyncio, json, sys
        from websockets.asyncio.client import connect
        async def main():
            url = sys.argv[1]
            large = json.dumps({"type": "x" * 200, "pad": "用户 " * 5000})
            async with connect(url + "&user=zip", max_size=None) as zipped, \\
                       connect(url + "&user=plain", max_size=None, compression=None) as plain:
                print("agreed", [type(e).__name__ for e in zipped.protocol.extensions], plain.protocol.extensions, flush=True)
                await zipped.recv(); await plain.recv()
                for ws in (zipped, plain):
                    await ws.send(large)
                    print("said", (await ws.recv())[:60], flush=True)
                while True:
                    a, b = await zipped.recv(), await plain.recv()
                    print("heard", a == b, len(a), flush=True)
                    if len(a) < 10: break
                try:
                    await zipped.send("x" * 3_000_000)
                    await zipped.recv()
                except Exception as error:
                    print("bomb", zipped.close_code, flush=True)
        asyncio.run(main())
        """

    @Test func `a message is compressed for clients that agreed, and is the same for all`() async throws {
        try await TestServer.with { server in
            let python = ProcessInfo.processInfo.environment["MARTLET_PYTHON"] ?? "/usr/bin/python3"
            let client = try Subprocess(python, ["-c", Self.script, "ws://\(server.client)/ws?x=1"])
            try await client.lines.wait("both answers") { $0.count { $0.text.hasPrefix("said") } == 2 }
            for text in [String(repeating: "a", count: 100_000), "用户1 " + String(repeating: "é", count: 999), "end"] {
                let file = server.folder + "/body.json"
                try "\"\(text)\"".write(toFile: file, atomically: true, encoding: .utf8)
                let sent = try await server.request("POST", "/v1/broadcast", body: "@\(file)")
                #expect(try sent.decoded(TestServer.Receipt.self) == .init(matched: 2, delivered: 2))
            }
            #expect(try await client.waitForEnd() == 0)
            let lines = await client.lines.events.map(\.text)
            #expect(lines.contains("agreed ['PerMessageDeflate'] []"))
            #expect(lines.filter { $0.hasPrefix("said") }.allSatisfy { $0.contains("unsupported_type") })
            #expect(
                lines.filter { $0.hasPrefix("heard") }.map { String($0.prefix(10)) }
                    == Array(repeating: "heard True", count: 3)
            )
            #expect(lines.contains("bomb 1009"), "what expands beyond the limit: \(lines.suffix(2))")
        }
    }

    private static let windows = """
        import asyncio, sys
        from websockets.asyncio.client import connect
        from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
        async def one(url, bits):
            asked = ClientPerMessageDeflateFactory(server_max_window_bits=bits, compress_settings={"memLevel": 5})
            async with connect(url + f"&user=w{bits}", max_size=None, compression=None, extensions=[asked]) as ws:
                agreed = ws.protocol.extensions[0]
                await ws.recv()
                print("agreed", bits, agreed.remote_max_window_bits, flush=True)
                print("heard", bits, hash(await ws.recv()), hash(await ws.recv()), flush=True)
        async def main():
            await asyncio.gather(*(one(sys.argv[1], bits) for bits in (9, 10, 12, 15, None)))
        asyncio.run(main())
        """

    @Test func `a client with a small window gets what it can expand, and other clients get what they always got`()
        async throws
    {
        try await TestServer.with { server in
            let url = "ws://\(server.client)/ws?x=1"
            let client = try Subprocess(WebSocketClients.python, ["-c", Self.windows, url])
            try await client.lines.wait("five agreements") { $0.count { $0.text.hasPrefix("agreed") } == 5 }
            // What repeats further away than small windows reach.
            let piece = (0..<30_000).map { String(($0 &* 2_654_435_761) % 97, radix: 36) }.joined()
            for text in [piece + piece, String(repeating: "é", count: 3000)] {
                let file = server.folder + "/body.json"
                try "\"\(text)\"".write(toFile: file, atomically: true, encoding: .utf8)
                let sent = try await server.request("POST", "/v1/broadcast", body: "@\(file)")
                #expect(try sent.decoded(TestServer.Receipt.self) == .init(matched: 5, delivered: 5))
                // Those who have gone through a restart know their windows still.
                #expect(try await server.control(["restart", "--all"]).code == 0)
            }
            #expect(try await client.waitForEnd() == 0)
            let lines = await client.lines.events.map(\.text)
            for bits in ["9 9", "10 10", "12 12", "15 15", "None 15"] {
                #expect(lines.contains("agreed \(bits)"), "\(lines)")
            }
            let heard = lines.filter { $0.hasPrefix("heard") }.map { $0.split(separator: " ").dropFirst(2) }
            #expect(heard.count == 5 && Set(heard).count == 1, "the same for all")
        }
    }

    @Test func `if compression is switched off, nobody gets it`() async throws {
        try await TestServer.with(environment: ["MARTLET_CLIENT_COMPRESSION": "false"]) { server in
            let answer = try await server.curl([
                "http://\(server.client)/ws?user=u", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H",
                "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "-H",
                "Sec-WebSocket-Extensions: permessage-deflate", "-m", "1",
            ])
            #expect(answer.headers.contains("101 Switching") && !answer.headers.contains("permessage-deflate"))
        }
    }
}
