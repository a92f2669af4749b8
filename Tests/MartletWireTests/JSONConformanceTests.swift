// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletWire
import Testing

/// The cases of Nicolas Seriot's JSONTestSuite (from "Parsing JSON is a minefield"), which check conformance to RFC
/// 8259.
///
/// `Tests/MartletWireTests/json-cases.tsv` has a line for each case: its name, whether a reader must accept it (y),
/// must refuse it (n), or may do either (i), and its bytes. In these, `\xHH` is a byte, and `REPEAT:COUNT:UNIT:TAIL`
/// repeats a unit.
@Suite struct JSONConformanceTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let expectation: String
        let bytes: [UInt8]

        var testDescription: String { name }
    }

    static let cases: [Case] = {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("json-cases.tsv")
        let lines = (try? String(contentsOf: file, encoding: .utf8))?.split(separator: "\n") ?? []
        return lines.compactMap { line in
            let parts = line.split(separator: "\t", maxSplits: 2, omittingEmptySubsequences: false)
            return parts.count == 3
                ? Case(name: String(parts[0]), expectation: String(parts[1]), bytes: bytes(parts[2])) : nil
        }
    }()

    private static func bytes(_ text: Substring) -> [UInt8] {
        guard text.hasPrefix("REPEAT:") else { return unescaped(text) }
        let parts = text.split(separator: ":", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4, let count = Int(parts[1]) else { return [] }
        return Array(repeatElement(unescaped(parts[2]), count: count).joined()) + unescaped(parts[3])
    }

    private static func unescaped(_ text: Substring) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.first == UInt8(ascii: "x") {
                let digits = rest.dropFirst().prefix(2)
                bytes.append(UInt8(String(decoding: digits, as: UTF8.self), radix: 16) ?? 0)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return bytes
    }

    @Test func `all cases are present`() {
        let counts = Dictionary(grouping: Self.cases, by: \.expectation).mapValues(\.count)
        #expect(counts == ["y": 95, "n": 188, "i": 35])
        #expect(Set(Self.cases.map(\.name)).count == 318)
    }

    @Test(arguments: cases)
    func `JSON is accepted, other text is refused, and all readers agree`(_ one: Case) {
        let isValid = (try? JSONScanner.validate(one.bytes.span)) != nil
        switch one.expectation {
        case "y": #expect(isValid)
        case "n": #expect(!isValid)
        // Text that is not UTF-8, or begins with a byte order mark, is refused: it would reach browsers unchanged.
        default: if String(validating: one.bytes, as: UTF8.self) == nil { #expect(!isValid) }
        }
        #expect((try? JSONValue(one.bytes)) != nil || !isValid)
        #expect(isValid || (try? JSONValue(one.bytes)) == nil)
    }
}
