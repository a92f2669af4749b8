// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire

/// What the scanner accepts is JSON for all readers.
enum JSONFuzzing {
    static func run(_ bytes: [UInt8]) {
        let isValid = (try? JSONScanner.validate(bytes.span)) != nil
        let value = try? JSONValue(bytes)
        promise(isValid == (value != nil), "the scanner says \(isValid)")
        _ = ClientMessage(bytes.span)
        _ = try? BatchLine(bytes.span)
        guard isValid, let value else { return }
        promise(String(validating: bytes, as: UTF8.self) != nil, "text that is not UTF-8")
        members(bytes, value)
        if let event = try? EventEnvelope.text(ofBody: bytes.span, unixMilliseconds: 0) {
            promise((try? JSONScanner.validate(event.span)) != nil, "an event that is no JSON")
        }
        let shown = Array(Printable.json(String(decoding: bytes, as: UTF8.self)).utf8)
        promise((try? JSONValue(shown)) == value, "what is shown means something else")
    }

    /// Checks that the members that are found without building them are the same as those that are built.
    private static func members(_ bytes: [UInt8], _ value: JSONValue) {
        var values: [JSONValue?] = []
        let isObject = JSONMembers.forEach(in: bytes.span) { _, range in
            values.append(try? JSONValue(Array(bytes[range])))
        }
        if case .object = value {
            promise(isObject && values == value.members.map(\.value), "other members")
        } else {
            promise(!isObject && values.isEmpty, "members of what is no object")
        }
    }
}

/// Bytes of other processes, files and the environment are decoded to values that survive another round, or refused.
enum CodingFuzzing {
    static func commands(_ bytes: [UInt8]) {
        let all = 0..<bytes.count
        if let (request, textStart) = try? CommandCoding.decode(bytes, in: all) {
            promise(textStart <= bytes.count, "text behind the end")
            let again = CommandCoding.encode(request)
            let read = try? CommandCoding.decode(again, in: 0..<again.count).0
            promise(read == request, "\(request) became another one")
        }
        if let reply = try? CommandCoding.decodeReply(bytes, in: all) {
            let again = CommandCoding.encode(reply)
            promise(
                (try? CommandCoding.decodeReply(again, in: 0..<again.count)) == reply,
                "\(reply) became another one"
            )
            if case .node(let node) = reply {
                _ = MetricsText.text(node)
                promise((try? JSONValue(APIAnswer.nodeText(node, byUser: true))) != nil, "statistics that are no JSON")
            }
        }
        _ = try? AdoptionTicket(bytes)
    }

    static func peers(_ bytes: [UInt8]) {
        let all = 0..<bytes.count
        _ = try? LogLine(bytes, in: all)
        _ = try? RoomChanges(bytes, in: all)
        _ = try? ShardStates(bytes, in: all)
        _ = try? Adoption(bytes, in: all)
        _ = try? BatchCoding.forEach(in: bytes, all) { _, text in
            promise(text.upperBound <= bytes.count, "text behind the end")
        }
        var stream = PeerStream(input: bytes, output: [])
        var frames = 0
        while let frame = try? stream.next() {
            promise(frame.payload.upperBound <= bytes.count, "a frame behind the end")
            frames += 1
            promise(frames <= bytes.count, "frames without an end")
        }
    }

    static func contract(_ bytes: [UInt8]) {
        guard let contract = try? BirthContract(bytes) else { return }
        promise((try? BirthContract(contract.bytes)) == contract, "a contract became another one")
        _ = contract.map.shardCount
    }

    static func tokens(_ bytes: [UInt8]) {
        let text = String(decoding: bytes, as: UTF8.self)
        if let token = try? TokenText(text) { _ = try? token.claims() }
        if let decoded = Base64URL.decode(text.utf8) {
            promise(Base64URL.encode(decoded).utf8.count == text.utf8.count, "another length")
        }
        _ = OriginPolicy.problem(text)
        _ = OriginPolicy(allowed: [text]).allows("https://a.example", host: "a.example")
        _ = DeflateExtension(offers: [text])
    }
}
