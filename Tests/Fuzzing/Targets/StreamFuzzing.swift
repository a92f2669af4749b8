// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire

/// Requests are the same whether their bytes come at once or in pieces.
enum HTTPFuzzing {
    private struct Request: Equatable {
        let target: String
        let body: [UInt8]
    }

    static func run(_ bytes: [UInt8]) {
        var choices = Choices(bytes)
        let mode = choices.byte()
        let piece = 1 + Int(choices.byte())
        let input = Array(choices.rest)
        let whole = read(input, piece: input.count, takesStreams: mode & 1 == 1)
        let pieces = read(input, piece: piece, takesStreams: mode & 1 == 1)
        promise(whole == pieces, "\(whole) in one, \(pieces) in pieces of \(piece)")
        compare(input)
    }

    /// Checks that a head means what a plain reading of it says, or is refused by both.
    private static func compare(_ input: [UInt8]) {
        let end = Array("\r\n\r\n".utf8)
        // The blank lines before a request are skipped before its head is read.
        guard !input.starts(with: "\r\n".utf8), let found = input.firstRange(of: end), found.upperBound <= 16384 else {
            return
        }
        let head = input[..<found.upperBound]
        let plain = try? PlainHead(head)
        let request = try? HTTPRequest(in: input)
        promise((request != nil) == (plain != nil), "only one reading accepts the head")
        guard let plain, let request else { return }
        let methods = ["GET": HTTPMethod.get, "HEAD": .head, "POST": .post, "PUT": .put, "DELETE": .delete]
        promise(request.method == methods[plain.method] ?? .other, "another method")
        promise(request.path == plain.path && request.query == plain.query, "another target")
        promise(request.isVersion11 == plain.isVersion11, "another version")
        promise(request.contentLength == plain.contentLength, "another length")
        promise(request.isChunked == (plain.value(of: "transfer-encoding") != nil), "another coding")
        promise(request.end == head.count, "another end")
        for field in HTTPField.allCases {
            let name = "\(field.name)"
            promise(request[field] == plain.value(of: name), "another \(name)")
            promise(request.tokens(of: field) == plain.members(of: name), "other members of \(name)")
        }
        let connection = plain.members(of: "connection").map { $0.lowercased() }
        let keepsAlive = plain.isVersion11 ? !connection.contains("close") : connection.contains("keep-alive")
        promise(request.keepsAlive == keepsAlive, "another end of the connection")
        let upgrades = Set(plain.members(of: "upgrade").map { $0.lowercased() })
        promise(request.hasOnly("websocket", in: .upgrade) == (upgrades == ["websocket"]), "another upgrade")
        promise(request.detached()[.host] == request[.host], "another copy")
    }

    private static func read(_ input: [UInt8], piece: Int, takesStreams: Bool) -> [Request] {
        var exchange = HTTPExchange(limits: .init(bodyBytes: 4096, takesStreams: takesStreams))
        var requests: [Request] = []
        var offset = 0
        while offset < input.count {
            let count = min(piece, input.count - offset)
            exchange.input += input[offset..<offset + count]
            offset += count
            events: while true {
                switch exchange.next() {
                case .needsMore: break events
                case .bodyAnnounced: break
                case .request(let request, let number, let body):
                    requests.append(Request(target: request.path, body: Array(exchange.input[body])))
                    _ = try? APICall.parse(request)
                    _ = try? Handshake.check(request, allowsCompression: true)
                    exchange.respond(to: number, .text("ok"))
                case .streamBegan(let request, _):
                    requests.append(Request(target: request.path, body: []))
                    exchange.beginStream(.text(""))
                case .line(let range):
                    let line = Array(exchange.input[range])
                    requests.append(Request(target: "line", body: line))
                    _ = try? BatchLine(line.span)
                    exchange.stream([0x31, 0x0A])
                case .lineTooLong: requests.append(Request(target: "long", body: []))
                case .streamEnded: exchange.endStream()
                }
            }
            promise(exchange.outputCount < 1 << 22, "answers without an end")
            _ = exchange.takeOutput()
            exchange.takeAnswered { promise((100..<600).contains($0), "status \($0)") }
        }
        return requests
    }
}

/// Messages are the same whether their bytes come at once or in pieces, and the memory for them is bounded.
enum MessageFuzzing {
    private enum Read: Equatable {
        case message(Opcode, [UInt8])
        case ping([UInt8])
        case pong
        case close(UInt16?)
        case failed(CloseReason)
    }

    private static let maximum = 1000

    static func run(_ bytes: [UInt8]) {
        var choices = Choices(bytes)
        let piece = 1 + Int(choices.byte())
        let isCompressing = choices.byte() & 1 == 1
        let input = Array(choices.rest)
        let whole = read(input, piece: max(1, input.count), isCompressing)
        let pieces = read(input, piece: piece, isCompressing)
        promise(whole == pieces, "\(whole) in one, \(pieces) in pieces of \(piece)")
    }

    private static func read(_ input: [UInt8], piece: Int, _ isCompressing: Bool) -> [Read] {
        var kept: [UInt8] = []
        var record = MessageReader().record
        var all: [Read] = []
        var offset = 0
        while offset < input.count {
            let count = min(piece, input.count - offset)
            kept += input[offset..<offset + count]
            offset += count
            var reader = MessageReader(record)
            while true {
                switch reader.next(kept.span.bytes, maximum: maximum, allowsCompression: isCompressing) {
                case .needsMore: break
                case .message(let opcode, let count):
                    promise(count <= maximum + maximum / 256 + 64, "a message of \(count) bytes")
                    var payload = [UInt8](repeating: 0, count: count)
                    guard payload.withUnsafeMutableBytes({ reader.copyMessage(kept.span.bytes, into: $0) }) else {
                        return all + [.failed(.invalidText)]
                    }
                    if opcode == .text, !reader.isCompressed {
                        promise(String(validating: payload, as: UTF8.self) != nil, "text that is not UTF-8")
                        _ = ClientMessage(payload.span)
                    }
                    all.append(.message(opcode, payload))
                    continue
                case .ping(let payload):
                    all.append(.ping(payload))
                    continue
                case .pong:
                    all.append(.pong)
                    continue
                case .close(let code): return all + [.close(code)]
                case .failed(let reason): return all + [.failed(reason)]
                }
                break
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
            promise(kept.count < 4 * maximum + 200_000, "\(kept.count) bytes are kept")
        }
        return all
    }
}

/// Data that can be expanded survive another compression, and never exceed what is allowed.
enum DeflateFuzzing {
    private static let maximum = 100_000
    nonisolated(unsafe) private static let deflate = MessageDeflate()

    static func run(_ bytes: [UInt8]) {
        guard let deflate else { return }
        guard let plain = expand(bytes, deflate) else { return }
        promise(plain.count <= maximum, "\(plain.count) bytes")
        for window in MessageDeflate.smallestWindow...MessageDeflate.largestWindow {
            var packed = [UInt8](repeating: 0, count: plain.count + 64)
            let count = plain.withUnsafeBytes { from in
                packed.withUnsafeMutableBytes { deflate.compress(from, window: window, into: $0) }
            }
            if let count { promise(expand(Array(packed[..<count]), deflate) == plain, "window \(window)") }
        }
    }

    private static func expand(_ bytes: [UInt8], _ deflate: MessageDeflate) -> [UInt8]? {
        bytes.withUnsafeBytes { source in
            (try? deflate.expand(source, maximum: maximum)).map { Array($0) }
        }
    }
}
