// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

@testable import MartletWire

@Suite struct CommandCodingTests {
    private static func value(_ text: String) -> JSONValue? { try? JSONValue(Array(text.utf8)) }

    private static let commands: [Command] = [
        .sendToUser("用户1"), .sendToConnection(ConnectionID("c")), .broadcast(excluding: ["a", ""]),
        .broadcast(excluding: []),
        .listConnections(user: "\t\r\n\u{1}"), .describe(ConnectionID("x")),
        .disconnectUser("u", code: 4000, reason: "why"),
        .disconnectConnection(ConnectionID("c"), code: 1000, reason: ""), .statistics(byUser: true),
        .sendToRoom(.thread("t")), .sendToRoom(.job("")), .bind(user: "u", thread: "t"),
        .unbind(user: "", thread: "用户"), .batch, .checkToken("a.b.c"),
        .fromClient(ClientPost(user: "用户", connection: ConnectionID("c"), high: .max, low: 7, .messages(first: .max))),
        .fromClient(ClientPost(user: "u", connection: ConnectionID("c"), high: 1, low: 2, .end)),
        .makeToken(user: "u", seconds: 60, threads: ["t"], jobs: []),
    ]

    private static let replies: [CommandReply] = [
        .receipt(Delivery(matched: 3, delivered: 2, failed: 1)), .closed(7), .connections([]),
        .connections([
            summary
        ]),
        .shard(statistics), .node(NodeStatistics(shards: [statistics, ShardStatistics()], uptimeNanoseconds: 77)),
        .failed(.shardUnavailable(partial: nil)), .failed(.shardUnavailable(partial: Delivery(matched: 1))),
        .failed(.overloaded), .failed(.messageTooLarge), .failed(.unknownConnection), .failed(.malformed),
        .failed(.notOpen), .received(7, isWhole: true), .received(.max, isWhole: false),
        .failed(.keyReused), .failed(.tooManyRooms), .failed(.cannotSign), .bound(true), .left(3), .token("t"),
        .claims(claims), .tokenRefused(.expired), .batch([]),
        .batch([.receipt(Delivery(matched: 1)), .failed(.overloaded), .failed(.shardUnavailable(partial: nil))]),
    ]

    private static var summary: ConnectionSummary {
        var summary = ConnectionSummary(id: ConnectionID("c"), user: "u", shard: 1, connectedAt: 5, lastSeenAt: 6)
        summary.expiresAt = 7
        summary.thread = "t"
        summary.threads = ["t", "t2"]
        summary.metadata = "{}"
        summary.queuedBytes = 9
        summary.roundTrip = 1234
        return summary
    }

    private static var claims: TokenClaims {
        var claims = TokenClaims()
        claims.subject = "u"
        claims.audiences = ["a", "b"]
        claims.expiresAt = 1e9
        claims.threads = []
        return claims
    }

    private static var statistics: ShardStatistics {
        var statistics = ShardStatistics()
        statistics.shard = 3
        statistics.connections = 9
        statistics.counters[.messagesSent] = 1 << 40
        statistics.counters.closed(with: 4408)
        statistics.counters[Timing.hop].observe(1234)
        statistics.lastEnd = "signal 9"
        statistics.connectionsByUser = ["用户": 2, "": 1]
        return statistics
    }

    @Test(arguments: commands)
    func `a command is read back, and so is the text after it`(command: Command) throws {
        let text: [UInt8] = command.carriesText ? [1, 2, 3] : []
        for key in [nil, RequestKey("k", fingerprint: 7)] {
            let request = Request(command, key: key)
            let bytes = [9, 9] + CommandCoding.encode(request) + text
            let (read, textStart) = try CommandCoding.decode(bytes, in: 2..<bytes.count)
            #expect(read == request)
            #expect(Array(bytes[textStart...]) == text)
        }
    }

    @Test(arguments: replies)
    func `a reply is read back, and refused if it is cut off or too long`(reply: CommandReply) throws {
        let bytes = CommandCoding.encode(reply)
        #expect(try CommandCoding.decodeReply(bytes, in: 0..<bytes.count) == reply)
        for cut in 0..<bytes.count {
            #expect(throws: WireError.self) { try CommandCoding.decodeReply(bytes, in: 0..<cut) }
        }
        #expect(throws: WireError.self) { try CommandCoding.decodeReply(bytes + [0], in: 0..<bytes.count + 1) }
    }

    @Test func `what the supervisor says about itself comes after the shards, where older programs do not look`()
        throws
    {
        var node = NodeStatistics(shards: [Self.statistics], uptimeNanoseconds: 5)
        let older = CommandCoding.encode(.node(node))
        node.supervisor = SupervisorStatistics(
            cpuNanoseconds: 7,
            residentBytes: 8,
            openDescriptors: 9,
            descriptorLimit: 10,
            startedAt: 11,
            limits: [.init(key: "limits.connections", value: 12)]
        )
        let bytes = CommandCoding.encode(.node(node))
        #expect(bytes.starts(with: older))
        #expect(try CommandCoding.decodeReply(bytes, in: 0..<bytes.count) == .node(node))
        for cut in older.count + 1..<bytes.count {
            #expect(throws: WireError.self) { try CommandCoding.decodeReply(bytes, in: 0..<cut) }
        }
    }

    @Test(arguments: [nil, "{}", "{ }", "{\"a\":1}", "{\"martlet\":{}}"] as [String?])
    func `a client's origin survives next to its metadata`(_ metadata: String?) throws {
        for origin in [
            nil, ClientOrigin(address: "2001:db8::1", agent: "Mozilla/5.0 (X11; Linux)"),
            ClientOrigin(address: "", agent: ""),
            ClientOrigin(address: "x\"y z", agent: String(repeating: "\"\\é", count: 100)),
        ] {
            var bearer = Bearer(user: "alice")
            bearer.metadata = metadata
            bearer.origin = origin
            var writer = ByteWriter()
            writer.put(bearer)
            var reader = ByteReader(writer.bytes)
            let read = try reader.bearer()
            #expect(read.origin?.agent == origin?.agent)
            #expect(read.metadata.flatMap(Self.value) == metadata.flatMap(Self.value))
            // An older program reads one object.
            if let merged = ClientOrigin.merged(origin, metadata) { #expect(Self.value(merged) != nil) }
        }
    }

    @Test func `metadata is never cut off to make room for a client's origin`() throws {
        let metadata = "{\"a\":\"" + String(repeating: "x", count: TokenPolicy.longestMetadata - 20) + "\"}"
        let merged = ClientOrigin.merged(ClientOrigin(address: "192.0.2.1", agent: "agent"), metadata)
        #expect(merged == metadata)
    }

    @Test func `whatever numbers a worker reports, they can be added up, shown and sent on`() throws {
        let bytes = CommandCoding.encode(.shard(Self.statistics))
        var read = 0
        for byte in [0xFF, 0x7F, 0x80] as [UInt8] {
            // Eight bytes at any place are replaced, and most places belong to a number.
            for start in stride(from: 0, to: bytes.count - 8, by: byte == 0xFF ? 1 : 5) {
                var changed = bytes
                for index in start..<start + 8 { changed[index] = byte }
                guard case .shard(let evil)? = try? CommandCoding.decodeReply(changed, in: 0..<changed.count) else {
                    continue
                }
                read += 1
                var ledger = Counters()
                for _ in 0..<3 { ledger.merge(evil.counters) }
                ledger.closed(with: 1006, count: evil.connections)
                var shown = evil
                shown.counters.merge(ledger)
                let node = NodeStatistics(shards: [shown, shown, shown], uptimeNanoseconds: .max)
                _ = (node.totalConnections, node.uniqueUsers, node.counters)
                #expect(!MetricsText.text(node).isEmpty)
                for call in [APICall.node(byUser: true), .shards, .shard(3), .readiness] {
                    _ = APIAnswer.response(to: call, .node(node))
                }
                _ = CommandCoding.encode(.node(node))
            }
        }
        #expect(read > bytes.count / 2)
        var sum = Delivery()
        for _ in 0..<200 { sum.merge(Delivery(matched: Int(UInt32.max), delivered: .max, failed: .max)) }
        _ = CommandCoding.encode(.receipt(sum))
        var counters = Counters()
        counters[.publishes] = .max
        counters.merge(counters)
        #expect(counters[.publishes] == .max)
    }

    @Test func `random bytes are refused or read, and never trap`() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0..<60, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            _ = try? CommandCoding.decode(bytes, in: 0..<bytes.count)
            _ = try? CommandCoding.decodeReply(bytes, in: 0..<bytes.count)
            _ = try? AdoptionTicket(bytes)
            _ = try? BirthContract(bytes)
        }
    }
}

@Suite struct RoomChangesTests {
    @Test(arguments: [0, 1, 64, 1000, RoomChanges.largestPiece])
    func `any number of rooms is sent in pieces that fit into frames, and nothing is lost`(largest: Int) throws {
        let long = String(repeating: "r", count: 250)
        let changes = (0..<(largest > 1000 ? 20_000 : 300)).map { number in
            let room = number.isMultiple(of: 2) ? Room.thread("\(long)\(number)") : .job("\(number)")
            return RoomChange(room: room, isOccupied: number % 3 > 0)
        }
        let pieces = RoomChanges.pieces(of: changes, largest: largest)
        #expect(pieces.count > 1 && pieces.flatMap(\.changes) == changes)
        for piece in pieces {
            let bytes = piece.bytes
            #expect(bytes.count <= max(largest, 4 + 6 + 256) && bytes.count <= PeerHeader.largestPayload)
            #expect(try RoomChanges(bytes, in: 0..<bytes.count) == piece)
        }
        #expect(RoomChanges.pieces(of: [], largest: largest) == [RoomChanges([])])
    }
}

@Suite struct PeerStreamTests {
    @Test func `frames are read back however the stream is cut`() throws {
        var sender = PeerStream()
        for number in 0..<3 {
            let header = PeerHeader(
                kind: .command,
                source: 1,
                destination: 0xFFFF,
                correlation: UInt64(number),
                mapGeneration: 7,
                payloadLength: 5
            )
            sender.append(header, [UInt8(number), 9, 1, 2, 3])
        }
        for cut in 0...sender.output.count {
            var receiver = PeerStream()
            var payloads: [[UInt8]] = []
            for piece in [sender.output[..<cut], sender.output[cut...]] {
                receiver.input += piece
                while let frame = try receiver.next() {
                    #expect(frame.header.kind == .command && frame.header.mapGeneration == 7)
                    payloads.append(Array(receiver.input[frame.payload]))
                }
            }
            #expect(payloads == [[0, 9, 1, 2, 3], [1, 9, 1, 2, 3], [2, 9, 1, 2, 3]])
        }
    }

    @Test func `a stream that is not ours is refused`() {
        for bad in [[0x4E, 1], [0x4D, 2]] as [[UInt8]] {
            var receiver = PeerStream()
            receiver.input = bad + Array(repeating: 0, count: 22)
            #expect(throws: WireError.wrongVersion) { try receiver.next() }
        }
        var receiver = PeerStream()
        receiver.input = [0x4D, 1, 5, 0] + Array(repeating: 0xFF, count: 20)
        #expect(throws: WireError.tooLong) { try receiver.next() }
    }
}

@Suite struct OlderWorkersTests {
    @Test func `replies that older workers do not know are sent in a form that they know`() throws {
        let left = [7] + CommandCoding.encode(.left(2))
        let older = try #require(CommandCoding.olderForm(left, in: 1..<left.count))
        #expect(try CommandCoding.decodeReply(older, in: 0..<older.count) == .bound(true))
        for reply in [.bound(false), .closed(2), .receipt(Delivery())] as [CommandReply] {
            let bytes = CommandCoding.encode(reply)
            #expect(CommandCoding.olderForm(bytes, in: 0..<bytes.count) == nil)
        }
        #expect(CommandCoding.olderForm([], in: 0..<0) == nil)
    }
}

@Suite struct AdoptionTicketTests {
    @Test func `a ticket is read back, whatever a client put into it`() throws {
        let evil = "\t\r\n\u{1}{\"user\":\"root\"}"
        var bearer = Bearer(user: evil)
        bearer.thread = evil
        bearer.threads = [evil, "t"]
        bearer.metadata = "{}"
        bearer.expiresAt = 1 << 41
        let ticket = AdoptionTicket(
            destination: 1,
            source: 0,
            service: .messages,
            bearer: bearer,
            accepted: .init(
                acceptValue: AcceptValue(forKey: Array("dGhlIHNhbXBsZSBub25jZQ==".utf8).span),
                subprotocol: nil
            ),
            bytesRead: 1 << 40,
            leftover: Array(evil.utf8)
        )
        var events = ticket
        events.accepted = nil
        var resuming = events
        resuming.resume = .resume(
            SessionToken(connection: ConnectionID("c"), secret: .init(high: 1, low: 2)),
            received: 3
        )
        for ticket in [ticket, events, resuming] {
            #expect(try AdoptionTicket(ticket.bytes) == ticket)
            for cut in 0..<ticket.bytes.count {
                #expect(throws: WireError.self) { try AdoptionTicket(Array(ticket.bytes[..<cut])) }
            }
        }
    }

    @Test func `a ticket contains the agreement on compression, in the same bytes as in older versions`() throws {
        func ticket(_ deflate: DeflateExtension?) -> AdoptionTicket {
            var ticket = AdoptionTicket(
                destination: 1,
                source: 0,
                service: .messages,
                bearer: Bearer(user: "u"),
                accepted: .init(
                    acceptValue: AcceptValue(forKey: Array("dGhlIHNhbXBsZSBub25jZQ==".utf8).span),
                    subprotocol: nil
                ),
                bytesRead: 1,
                leftover: []
            )
            ticket.accepted?.deflate = deflate
            return ticket
        }
        let none = ticket(nil).bytes
        let place = try #require(none.indices.first { none[$0] != ticket(.init()).bytes[$0] })
        #expect(none[place] == 0 && ticket(.init()).bytes[place] == 1, "a flag, as for workers of before")
        for window in 8...15 {
            let agreed = ticket(.init(askedWindow: window))
            #expect(try AdoptionTicket(agreed.bytes) == agreed && agreed.bytes[place] == UInt8(window))
        }
        for other in [2, 7, 16, 255] as [UInt8] {
            var bytes = none
            bytes[place] = other
            #expect(throws: WireError.unknownValue) { try AdoptionTicket(bytes) }
        }
    }

    @Test func `a worker's contract is read back, and refused when it is cut off`() throws {
        var secrets = BirthContract.Secrets()
        secrets.hmac = Array("secret".utf8)
        secrets.jwks = "{\"keys\":[]}"
        secrets.apiKeys = [[1, 2], []]
        var configuration = Configuration.development
        configuration.client.allowedOrigins = ["https://*.example.com"]
        configuration.api.allowedUIDs = [33]
        let contract = BirthContract(
            shard: 1,
            generation: 3,
            map: ShardMap(shardCount: 2),
            clientListeners: 1,
            apiListeners: 1,
            configuration: configuration,
            secrets: secrets,
            addressKey: 42
        )
        #expect(try BirthContract(contract.bytes) == contract)
        for cut in 0..<contract.bytes.count {
            #expect(throws: WireError.self) { try BirthContract(Array(contract.bytes[..<cut])) }
        }
    }
}
