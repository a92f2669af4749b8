// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletWire
import Testing

@Suite struct EventEnvelopeTests {
    private func envelope(_ body: String) throws(EventEnvelope.Problem) -> String {
        let bytes = Array(body.utf8)
        let text = try EventEnvelope.text(ofBody: bytes.span, unixMilliseconds: 1_672_531_200_123)
        return String(decoding: text, as: UTF8.self)
    }

    @Test func `manager behaviour 34: an event has exactly the keys type, data, timestamp, in that order`() throws {
        let text = try envelope("{ \"data\" : {\"key\": \"value\"} , \"type\":\"test_event\"}")
        #expect(
            text == "{\"type\":\"test_event\",\"data\":{\"key\": \"value\"},\"timestamp\":\"2023-01-01T00:00:00.123Z\"}"
        )
        #expect(try envelope("{\"type\":\"x\"}").hasPrefix("{\"type\":\"x\",\"data\":null,"))
    }

    @Test func `manager behaviour 34: an event without a type, or with more than type and data, is refused`() {
        #expect(throws: EventEnvelope.Problem.noType) { try envelope("{\"type\":\"\",\"data\":1}") }
        #expect(throws: EventEnvelope.Problem.noType) { try envelope("{\"data\":1}") }
        #expect(throws: EventEnvelope.Problem.noType) { try envelope("{\"type\":5}") }
        #expect(throws: EventEnvelope.Problem.noObject) { try envelope("[1]") }
        #expect(throws: EventEnvelope.Problem.unknownMember("payload")) {
            try envelope("{\"type\":\"x\",\"payload\":1}")
        }
    }

    @Test func `manager behaviour 73: nested data of every kind passes byte for byte`() throws {
        let data =
            #"{"map":{"list":[1,2.50,-3e+2,{"deep":null}],"flag":true},"text":"用户 \"q\" \u00e9 😀 }],","empty":{}}"#
        let text = try envelope("{\"type\":\"tool_completed\",\"data\":\(data)}")
        #expect(text.contains("\"data\":\(data),\"timestamp\""))
        let value = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        #expect(value?.keys.sorted() == ["data", "timestamp", "type"])
    }
}

@Suite struct JSONMembersTests {
    @Test func `members and their values are found in any valid text`() {
        let text = Array(" { \"a\" : 1 ,\"b\":[1,{\"a\":2}],\"c\":\"}\\\"\" , \"d\":true,\"e\":{ } }".utf8)
        var found: [String] = []
        JSONMembers.forEach(in: text.span) { key, value in
            found.append(
                String(decoding: text[key], as: UTF8.self) + "=" + String(decoding: text[value], as: UTF8.self)
            )
        }
        #expect(found == ["a=1", "b=[1,{\"a\":2}]", "c=\"}\\\"\"", "d=true", "e={ }"])
    }

    @Test(arguments: ["[]", "1", "\"x\"", "", "  "])
    func `text that is not an object has no members`(text: String) {
        let bytes = Array(text.utf8)
        #expect(!JSONMembers.forEach(in: bytes.span) { _, _ in Issue.record("a member") })
    }

    @Test func `the last of two members with the same name counts, and escapes are read`() {
        let text = Array("{\"k\":\"1\",\"k\":\"\\u7528\\n\"}".utf8)
        #expect(JSONMembers.text(of: "k", in: text.span) == "用\n")
        #expect(JSONMembers.text(of: "missing", in: text.span) == nil)
    }

    @Test func `random valid text is read to its end`() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            let text =
                "{"
                + (0..<Int.random(in: 0..<5, using: &generator)).map { "\"k\($0)\":\(Self.value(&generator))" }
                .joined(separator: [",", " , ", ",\n"].randomElement() ?? ",") + "}"
            let bytes = Array(text.utf8)
            try JSONScanner.validate(bytes.span)
            var values: [JSONValue] = []
            JSONMembers.forEach(in: bytes.span) { _, value in
                if let value = try? JSONValue(Array(bytes[value])) { values.append(value) }
            }
            #expect(try values == JSONValue(bytes).members.map(\.value))
        }
    }

    private static func value(_ generator: inout SystemRandomNumberGenerator, depth: Int = 0) -> String {
        switch Int.random(in: 0..<(depth > 3 ? 4 : 6), using: &generator) {
        case 0: return "\(Int.random(in: -9...9, using: &generator))"
        case 1: return "\"a\\\"{}[],:\\\\ \""
        case 2: return "null"
        case 3: return "1.5e-3"
        case 4: return "[ \(value(&generator, depth: depth + 1)) , \(value(&generator, depth: depth + 1))]"
        default: return "{\"x\" :\(value(&generator, depth: depth + 1))}"
        }
    }
}
