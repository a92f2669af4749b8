// SPDX-License-Identifier: Apache-2.0

import MartletWire
import Testing

@Suite struct JSONScannerTests {
    @Test(arguments: [
        "{}", "[]", "0", "-0.5e+10", "\"\"", "true", "null", " [1 , 2 ]\n",
        "{\"a\":{\"b\":[null,{}]},\"c\":\"\\u12aF\\n\"}",
        "\"用户 مستخدم 😀\"", "[[[[]]]]", "1e5", "[{},{}]",
    ])
    func `JSON is accepted`(text: String) throws {
        try JSONScanner.validate(Array(text.utf8).span)
    }

    @Test(arguments: [
        ("", 0), ("{", 1), ("{\"a\":}", 5), ("[1,]", 3), ("{\"a\":1,}", 7), ("{a:1}", 1), ("01", 1), ("1.", 2),
        ("tru", 3),
        ("\"a", 2), ("\"\\x\"", 2), ("\"\\u12g4\"", 5), ("[1}", 2), ("{\"a\"]", 4), ("1 2", 2), ("\"\u{01}\"", 1),
        ("nul", 3),
        ("+1", 0), ("'a'", 0), ("[1 2]", 3), ("}", 0),
    ])
    func `text that is not JSON is refused at the right byte`(text: String, offset: Int) {
        #expect { try JSONScanner.validate(Array(text.utf8).span) } throws: { ($0 as? JSONFailure)?.offset == offset }
    }

    @Test(arguments: [[0x22, 0xFF, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22]] as [[UInt8]])
    func `text that is not UTF-8 is refused`(bytes: [UInt8]) {
        #expect(throws: JSONFailure.self) { try JSONScanner.validate(bytes.span) }
    }

    @Test func `nesting is bounded`() throws {
        let deep = { (depth: Int) in
            Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
        }
        try JSONScanner.validate(deep(JSONScanner.deepestNesting).span)
        #expect(throws: JSONFailure.self) { try JSONScanner.validate(deep(JSONScanner.deepestNesting + 1).span) }
        #expect(throws: JSONFailure.self) {
            try JSONScanner.validate(Array(repeating: UInt8(ascii: "["), count: 1_000_000).span)
        }
    }

    @Test func `a decoded value is what was written`() throws {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("a\"\\\n\u{1}用", "x\ty")
        writer.member("n", -12)
        writer.key("list")
        writer.beginArray()
        writer.value(true)
        writer.null()
        writer.beginObject()
        writer.endObject()
        writer.endArray()
        writer.endObject()
        let value = try JSONValue(writer.bytes)
        #expect(value["a\"\\\n\u{1}用"]?.string == "x\ty")
        #expect(value["n"]?.int == -12)
        #expect(value["list"]?.array == [.bool(true), .null, .object([])])
    }

    @Test func `escapes are decoded, including surrogate pairs`() throws {
        #expect(try JSONValue(Array("\"\\ud83d\\ude00\\u0041\\/\"".utf8)) == .string("😀A/"))
    }

    @Test(arguments: ["\\ud800", "\\udbff", "\\udc00", "a\\ud800b", "\\ud83dx\\ude00", "\\ud800\\ud800"])
    func `half of a surrogate pair is valid JSON, but not text that could be an id`(text: String) throws {
        let document = Array("{\"id\":\"\(text)\",\"ids\":[\"\(text)\"]}".utf8)
        let value = try JSONValue(document)
        #expect(value["id"] == .brokenString && value["id"]?.string == nil)
        #expect(value["ids"]?.array == [.brokenString])
        #expect(JSONMembers.text(of: "id", in: document.span) == nil)
        let line = Array("{\"thread\":\"\(text)\",\"message\":1}".utf8)
        #expect(throws: HTTPProblem.self) { try BatchLine(line.span) }
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_795_399_200_007, "2026-11-23T02:00:00.007Z"), (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"), (.max, "9999-12-31T23:59:59.999Z"),
            (-1, "1970-01-01T00:00:00.000Z"),
        ] as [(Int64, String)]
    )
    func `timestamps are ISO 8601 in UTC with milliseconds`(milliseconds: Int64, text: String) {
        #expect(Timestamp.text(unixMilliseconds: milliseconds) == text)
    }
}

private let wrongCount = ClientMessage.incomplete("received must be a whole number from 0 to 4294967295")

@Suite struct ClientMessageTests {
    @Test(arguments: [
        ("{\"type\":\"ping\"}", ClientMessage.ping(received: nil)),
        ("{\"\\u0074ype\":\"ping\",\"received\":7}", .ping(received: 7)),
        ("{\"type\":\"ack\",\"received\": 4294967295 }", .ack(.max)),
        ("{\"type\":\"ack\",\"received\":4294967296}", wrongCount), ("{\"type\":\"ack\",\"received\":-1}", wrongCount),
        ("{\"type\":\"ack\",\"received\":1.0}", wrongCount), ("{\"type\":\"ack\"}", wrongCount),
        ("{\"type\":\"x\"}", .unsupported(type: "x")),
        ("{\"type\":1}", .unsupported(type: nil)), ("[]", .unsupported(type: nil)),
        ("{", .malformed(JSONFailure(offset: 1, why: "expected a key in quotes"))),
    ])
    func `a client's text is understood, or the problem is named`(text: String, message: ClientMessage) {
        #expect(ClientMessage(Array(text.utf8).span) == message)
    }

    @Test(
        arguments: [
            ("{\"type\":\"a\"}", "a"), ("{\"x\":{\"type\":\"no\"},\"type\":\"b\"}", "b"), ("[{\"type\":\"no\"}]", nil),
            ("{\"type\":{\"type\":\"no\"}}", nil), ("{\"type\":[\"no\"]}", nil), ("{\"a\":\"type\",\"b\":\"no\"}", nil),
            ("{\"type\":\"a\",\"type\":1}", nil), ("{\"type\":\"\\\"q\\\"\"}", "\"q\""), ("\"type\"", nil),
            ("{\"t\\\"ype\":\"no\", \"type\" : \"c\" }", "c"), ("{}", nil),
            ("{\"\\u0074ype\":\"d\"}", "d"), ("{\"t\\u0079p\\u0065\":\"e\",\"data\":1}", "e"),
            ("{\"typ\\u0066\":\"no\"}", nil), ("{\"typ\\u0065\\u0065\":\"no\"}", nil),
        ] as [(String, String?)]
    )
    func `a member is found only in the outermost object, and the last one counts`(text: String, type: String?) throws {
        let bytes = Array(text.utf8)
        try JSONScanner.validate(bytes.span)
        #expect(JSONMembers.text(of: "type", in: bytes.span) == type)
    }

    @Test func `the greeting has the promised members in the promised order`() {
        let bytes = ServerMessage.connectionEstablished(
            connection: "c",
            bearer: Bearer(user: "用户1"),
            heartbeatMilliseconds: 25000,
            now: 0
        )
        let expected =
            "{\"type\":\"connection_established\",\"connection_id\":\"c\",\"user_id\":\"用户1\","
            + "\"heartbeat_interval_ms\":25000,\"timestamp\":\"1970-01-01T00:00:00.000Z\"}"
        #expect(String(decoding: bytes, as: UTF8.self) == expected)
    }
}
