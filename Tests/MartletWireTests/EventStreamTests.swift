// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

@testable import MartletWire

struct EventStreamTests {
    private func event(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        let count = EventStream.byteCount(of: bytes.span)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
        defer { buffer.deallocate() }
        EventStream.write(bytes.span, to: buffer)
        return Array(buffer)
    }

    /// Reads an event as the specification says (WHATWG HTML, 9.2.6), and returns its data.
    private func data(_ event: [UInt8]) throws -> String {
        let text = String(decoding: event, as: UTF8.self)
        let lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r" || $0 == "\r\n" }
        // The last two are what comes after the empty line, and that line.
        #expect(lines.suffix(2) == ["", ""])
        return try lines.dropLast(2).map { line in
            try #require(line.hasPrefix("data: "), "\(line)")
            return String(line.dropFirst(6))
        }.joined(separator: "\n")
    }

    @Test(arguments: [
        "", "1", "{\"a\":1}", "a\nb", "a\r\nb", "a\rb", "\n", "\r\n\r\n", "a\n", "data: x\n\n: y", "\u{FEFF}x",
        "üñ\u{2028}\u{85}😀",
    ])
    func `a text comes out of its event as it went in, but for its line breaks`(_ text: String) throws {
        let plain = text.replacing("\r\n", with: "\n").replacing("\r", with: "\n")
        let event = event(text)
        #expect(try data(event) == plain)
        let (back, isText) = (EventStream.text(of: event.span), EventStream.isText(event.span))
        #expect(String(decoding: back, as: UTF8.self) == plain && isText)
        #expect(self.event(plain) == event, "a second time it is the same")
    }

    @Test func `no frame of a WebSocket, no heartbeat and no end is taken for a text`() {
        let frames: [[UInt8]] =
            [EventStream.comment, EventStream.close([0x03, 0xE8]), EventStream.head(HTTPDate(unixSeconds: 0)), []]
            + (0...255).filter { $0 & 0x80 != 0 }.map { [$0, 0] }
        for frame in frames {
            let isText = EventStream.isText(frame.span)
            #expect(!isText, "\(frame)")
        }
    }

    @Test func `the end of a stream says what a close frame says`() {
        let payload = FrameEncoder.closePayload(code: 4401, reason: "a \"token\"\nexpired")
        let expected = "event: close\ndata: {\"code\":4401,\"reason\":\"a \\\"token\\\"\\nexpired\"}\n\n"
        #expect(String(decoding: EventStream.close(payload), as: UTF8.self) == expected)
    }

    @Test(arguments: [("/ws", "/sse"), ("/push/ws", "/push/sse"), ("/", "/sse"), ("/a/b/", "/a/b/sse")])
    func `streams are beside the WebSockets`(_ path: String, _ expected: String) {
        #expect(EventStream.path(beside: path) == expected)
    }

    @Test func `every field that is read has a place in a head`() throws {
        let lines = HTTPField.allCases.map { "\($0.name): 7" }.joined(separator: "\r\n")
        for field in HTTPField.allCases {
            let head = Array("GET / HTTP/1.1\r\nHost: h\r\n\(field.name): 7\r\n\r\n".utf8)
            if field == .host || field == .transferEncoding { continue }
            let request = try #require(try HTTPRequest(in: head, from: 0), "\(field)")
            #expect(request[field] == "7", "\(field)")
        }
        #expect(HTTPField.allCases.count == lines.split(separator: "\r\n").count)
    }

    @Test(arguments: ["", "x", "x 1 2", " 1", "x -1", "x 4294967296", "x 1x", "x  1", "ü 1"])
    func `a session's field that makes no sense is refused`(_ value: String) throws {
        let head = Array("POST /sse HTTP/1.1\r\nHost: h\r\nMartlet-Session: \(value)\r\n\r\n".utf8)
        let request = try #require(try HTTPRequest(in: head, from: 0))
        #expect(throws: HTTPProblem.self) { try SessionOffer(request) }
    }

    @Test func `only what clients post may have a body of its own size`() {
        func status(_ head: String, _ length: Int) -> Int? {
            var exchange = HTTPExchange(limits: .init(bodyBytes: 0, postPath: "/sse", postBytes: 100))
            exchange.input = Array("\(head) HTTP/1.1\r\nHost: h\r\nContent-Length: \(length)\r\n\r\n".utf8)
            if case .needsMore = exchange.next() {
                return Int(String(decoding: exchange.takeOutput(), as: UTF8.self).split(separator: " ")[1])
            }
            return nil
        }
        #expect(status("POST /sse", 100) == nil)
        #expect(status("POST /sse?x", 100) == nil)
        for (head, length) in [
            ("POST /sse", 101), ("PUT /sse", 1), ("POST /ssee", 1), ("GET /sse", 1), ("POST /ws", 1),
        ] {
            #expect(status(head, length) == 413, "\(head) \(length)")
        }
    }
}
