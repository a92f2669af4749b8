// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire
import Testing

/// Frames as a client sends them.
enum ClientFrame {
    static func bytes(
        _ opcode: UInt8,
        _ payload: [UInt8],
        isFinal: Bool = true,
        mask: [UInt8] = [1, 2, 3, 4]
    ) -> [UInt8] {
        var bytes: [UInt8] = [(isFinal ? 0x80 : 0) | opcode]
        switch payload.count {
        case ..<126: bytes.append(0x80 | UInt8(payload.count))
        case ..<65536: bytes += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: bytes += [0x80 | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 & 3] }
    }

    static func text(_ text: String, isFinal: Bool = true) -> [UInt8] { bytes(1, Array(text.utf8), isFinal: isFinal) }
}

/// What a reader found in a stream, for comparison.
enum Read: Equatable {
    case message(Opcode, [UInt8])
    case ping([UInt8])
    case pong([UInt8])
    case close(UInt16?)
    case failed(CloseReason)
}

/// Drives a ``MessageReader`` like a socket: pieces arrive, handled bytes are dropped, the state is saved and restored.
struct ReaderHarness {
    private var kept: [UInt8] = []
    private var record = MessageReader().record
    private(set) var read: [Read] = []
    var maximum = 1000
    private(set) var largestKept = 0

    mutating func receive(_ piece: [UInt8]) {
        kept += piece
        var reader = MessageReader(record)
        loop: while true {
            switch reader.next(kept.span.bytes, maximum: maximum) {
            case .needsMore: break loop
            case .message(let opcode, let count):
                var payload = [UInt8](repeating: 0, count: count)
                let isText = payload.withUnsafeMutableBytes { reader.copyMessage(kept.span.bytes, into: $0) }
                guard isText else {
                    read.append(.failed(.invalidText))
                    break loop
                }
                read.append(.message(opcode, payload))
            case .ping(let payload): read.append(.ping(payload))
            case .pong(let payload): read.append(.pong(payload))
            case .close(let code):
                read.append(.close(code))
                break loop
            case .failed(let reason):
                read.append(.failed(reason))
                break loop
            }
        }
        if reader.isWorthMerging {
            var merged = [UInt8](repeating: 0, count: reader.mergedLength)
            let behind = reader.offset
            merged.withUnsafeMutableBytes { reader.merge(kept.span.bytes, into: $0) }
            kept = merged + kept[behind...]
        }
        kept.removeFirst(reader.consumed)
        reader.didDrop(reader.consumed)
        record = reader.record
        largestKept = max(largestKept, kept.count)
    }

    static func read(_ bytes: [UInt8], maximum: Int = 1000) -> [Read] {
        var harness = ReaderHarness()
        harness.maximum = maximum
        harness.receive(bytes)
        return harness.read
    }
}

@Suite struct MessageReaderTests {
    private static let stream: [UInt8] =
        ClientFrame.text("hello") + ClientFrame.bytes(9, [7, 8]) + ClientFrame.text("用", isFinal: false)
        + ClientFrame.bytes(10, []) + ClientFrame.bytes(0, Array("户1".utf8), isFinal: false) + ClientFrame.bytes(0, [])
        + ClientFrame.bytes(2, Array(repeating: 0xFF, count: 200)) + ClientFrame.text("")
        + ClientFrame.bytes(8, [0x03, 0xE8])

    private static let expected: [Read] = [
        .message(.text, Array("hello".utf8)), .ping([7, 8]), .pong([]), .message(.text, Array("用户1".utf8)),
        .message(.binary, Array(repeating: 0xFF, count: 200)), .message(.text, []), .close(1000),
    ]

    @Test func `a stream is read the same however it is cut in two`() {
        for cut in 0...Self.stream.count {
            var harness = ReaderHarness()
            harness.receive(Array(Self.stream[..<cut]))
            harness.receive(Array(Self.stream[cut...]))
            #expect(harness.read == Self.expected, "cut at \(cut)")
        }
    }

    @Test func `a stream is read the same byte by byte`() {
        var harness = ReaderHarness()
        for byte in Self.stream { harness.receive([byte]) }
        #expect(harness.read == Self.expected)
    }

    @Test(
        arguments: [
            ("not masked", [0x81, 0x01, 0x61], CloseReason.protocolError),
            ("a reserved bit", [0xC1, 0x80, 0, 0, 0, 0], .protocolError),
            ("an unknown opcode", [0x83, 0x80, 0, 0, 0, 0], .protocolError),
            ("a continuation of nothing", [0x80, 0x80, 0, 0, 0, 0], .protocolError),
            ("a fragmented ping", [0x09, 0x80, 0, 0, 0, 0], .protocolError),
            ("a ping of 126 bytes", [0x89, 0xFE, 0, 126, 0, 0, 0, 0], .protocolError),
            ("a length that is not the shortest", [0x81, 0xFE, 0, 5, 0, 0, 0, 0], .protocolError),
            ("a length with the top bit", [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], .protocolError),
            ("a giant", [0x82, 0xFF, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0], .messageTooBig),
            ("text that is not UTF-8", ClientFrame.bytes(1, [0xC0, 0x80]), .invalidText),
            ("text that ends within a character", ClientFrame.bytes(1, [0xE7, 0x94]), .invalidText),
            ("a close frame of one byte", ClientFrame.bytes(8, [3]), .protocolError),
            ("a close code that is reserved", ClientFrame.bytes(8, [0x03, 0xED]), .protocolError),
            ("a close reason that is not UTF-8", ClientFrame.bytes(8, [0x03, 0xE8, 0xFF]), .invalidText),
            (
                "a new message within a message", ClientFrame.text("a", isFinal: false) + ClientFrame.text("b"),
                .protocolError
            ),
        ] as [(String, [UInt8], CloseReason)]
    )
    func `bytes that break the protocol get the right code`(what: String, bytes: [UInt8], reason: CloseReason) {
        #expect(ReaderHarness.read(bytes).last == .failed(reason), "\(what)")
    }

    @Test func `a bad character in a fragment fails at once, before the message is complete`() {
        let bytes = ClientFrame.bytes(1, [0x61, 0xFF], isFinal: false)
        #expect(ReaderHarness.read(bytes) == [.failed(.invalidText)])
    }

    @Test func `the limit counts all fragments of a message`() {
        let half = ClientFrame.bytes(2, Array(repeating: 0, count: 6), isFinal: false)
        let rest = ClientFrame.bytes(0, Array(repeating: 0, count: 5))
        #expect(ReaderHarness.read(half + rest, maximum: 11).count == 1)
        #expect(ReaderHarness.read(half + rest, maximum: 10) == [.failed(.messageTooBig)])
    }

    @Test func `however small the fragments are, what is kept is bounded by the message`() {
        var harness = ReaderHarness()
        harness.maximum = 100_000
        harness.receive(ClientFrame.text("", isFinal: false))
        for number in 0..<60_000 {
            harness.receive(ClientFrame.bytes(0, number % 3 == 0 ? [0x61] : [], isFinal: false))
            if number % 5 == 0 { harness.receive(ClientFrame.bytes(9, Array(repeating: 1, count: 100))) }
        }
        harness.receive(ClientFrame.bytes(0, [0x62]))
        #expect(harness.read.last == .message(.text, Array(repeating: 0x61, count: 20_000) + [0x62]))
        #expect(harness.largestKept < 2 * 20_000 + 65536 + 1000)
    }

    @Test func `random bytes never trap, and end the stream or wait`() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0..<40, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            let whole = ReaderHarness.read(bytes)
            var pieces = ReaderHarness()
            for byte in bytes { if case .failed = pieces.read.last { break } else { pieces.receive([byte]) } }
            if let first = whole.first { #expect(pieces.read.first == first) }
        }
    }
}

@Suite struct FrameEncoderTests {
    @Test(arguments: [0, 1, 125, 126, 65535, 65536, 100_000])
    func `a frame that we write can be read back`(size: Int) {
        let head = FrameEncoder.headLength(payloadLength: size)
        var bytes = [UInt8](repeating: 0, count: head)
        bytes.withUnsafeMutableBytes { FrameEncoder.writeHead(.text, payloadLength: size, to: $0) }
        guard case .header(let header) = FrameHeader.parse(bytes.span.bytes, at: 0) else {
            Issue.record("not read back")
            return
        }
        #expect(header.payloadLength == size && header.length == head && header.isFinal && header.mask == nil)
    }

    @Test func `a close reason is truncated to 123 bytes without splitting a character`() {
        let payload = FrameEncoder.closePayload(code: 1001, reason: String(repeating: "户", count: 60))
        #expect(payload.count <= 125)
        #expect(String(validating: payload[2...], as: UTF8.self) == String(repeating: "户", count: 41))
    }

    @Test func `masking in words equals masking in bytes`() {
        let source = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        for count in [0, 1, 3, 7, 8, 9, 63, 1000] {
            var target = [UInt8](repeating: 0, count: 1000)
            source.withUnsafeBytes { from in
                target.withUnsafeMutableBytes { to in
                    if let from = from.baseAddress, let to = to.baseAddress {
                        Masking.copy(from, count, to: to, key: 0x0403_0201)
                    }
                }
            }
            let expected: [UInt8] = (0..<count).map { index in source[index] ^ UInt8((index & 3) + 1) }
            #expect(Array(target[..<count]) == expected)
        }
    }
}

@Suite struct UTF8ValidatorTests {
    @Test(
        arguments: [
            ([0x61], true), ([0xC2, 0x80], true), ([0xC1, 0x80], false), ([0xE0, 0xA0, 0x80], true),
            ([0xE0, 0x9F, 0x80], false), ([0xED, 0x9F, 0xBF], true), ([0xED, 0xA0, 0x80], false),
            ([0xF0, 0x90, 0x80, 0x80], true),
            ([0xF0, 0x8F, 0x80, 0x80], false), ([0xF4, 0x8F, 0xBF, 0xBF], true), ([0xF4, 0x90, 0x80, 0x80], false),
            ([0xF5, 0x80, 0x80, 0x80], false), ([0x80], false), ([0xE4, 0xBD], false),
        ] as [([UInt8], Bool)]
    )
    func `the limits of RFC 3629 hold, at once and with the state saved between bytes`(bytes: [UInt8], isValid: Bool) {
        var whole = UTF8Validator()
        expect((whole.accept(bytes.span.bytes) && whole.isAtBoundary) == isValid)
        var state = UTF8Validator().state
        var isAccepted = true
        for byte in bytes where isAccepted {
            var validator = UTF8Validator(state: state)
            isAccepted = validator.accept(byte)
            state = validator.state
        }
        #expect((isAccepted && UTF8Validator(state: state).isAtBoundary) == isValid)
    }
}

@Suite struct HandshakeTests {
    @Test func `the accept value is that of RFC 6455`() {
        #expect(AcceptValue(forKey: Array("dGhlIHNhbXBsZSBub25jZQ==".utf8).span).text == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }

    @Test(arguments: [
        ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"), ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (String(repeating: "a", count: 55), "c1c8bbdc22796e28c0e15163d20899b65621d65a"),
        (String(repeating: "a", count: 56), "c2db330f6083854c99d4b5bfb6e8f29f201be699"),
        (String(repeating: "a", count: 64), "0098ba824b5c16427bd7a1122a5a442a25ec644d"),
        (String(repeating: "a", count: 1000), "291e9a6c66994949b57ba5e650361e98fc36b1ba"),
    ])
    func `SHA-1 is that of RFC 3174, wherever the padding falls`(text: String, digest: String) {
        let bytes = SHA1.digest(Array(text.utf8))
        #expect(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() == digest)
    }

    private static let good = [
        "Host: h", "Upgrade: websocket", "Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]

    private func check(_ line: String, _ fields: [String]) throws(HTTPProblem) -> Handshake.Accepted {
        let text = ([line] + fields).joined(separator: "\r\n") + "\r\n\r\n"
        guard let request = try HTTPRequest(in: Array(text.utf8)) else { throw .badRequest("not a whole head") }
        return try Handshake.check(request)
    }

    @Test func `a good upgrade is accepted, and our subprotocol is chosen if it is offered`() throws {
        #expect(try check("GET /ws HTTP/1.1", Self.good).subprotocol == nil)
        let offers = Self.good + ["Sec-WebSocket-Protocol: bearer.abc, martlet"]
        #expect(try check("GET /ws HTTP/1.1", offers).subprotocol == "martlet")
    }

    @Test(arguments: [
        ("POST /ws HTTP/1.1", Self.good, 405), ("GET /ws HTTP/1.0", Self.good, 505),
        ("GET /ws HTTP/1.1", [good[0]], 426),
        ("GET /ws HTTP/1.1", good.map { $0.replacing("13", with: "8") }, 426),
        ("GET /ws HTTP/1.1", good.map { $0.replacing("dGhlIHNhbXBsZSBub25jZQ==", with: "short") }, 400),
        ("GET /ws HTTP/1.1", Array(good.dropLast()), 400),
    ])
    func `a request that is no upgrade is refused with a helpful status`(line: String, fields: [String], status: Int) {
        #expect { try check(line, fields) } throws: { ($0 as? HTTPProblem)?.status == status }
    }
}
