// SPDX-License-Identifier: Apache-2.0

/// Writes compact JSON, with keys in the order of the calls.
package struct JSONWriter {
    package private(set) var bytes: [UInt8] = []
    private var needsComma = false

    package init() {}

    package mutating func beginObject() { begin("{") }
    package mutating func endObject() { end("}") }
    package mutating func beginArray() { begin("[") }
    package mutating func endArray() { end("]") }

    package mutating func key(_ name: String) {
        value(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    package mutating func value(_ text: String) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        let utf8 = text.utf8.span
        var start = 0
        for index in utf8.indices where Self.isEscaped(utf8[index]) {
            bytes.append(copying: utf8.extracting(start..<index))
            append(escaping: utf8[index])
            start = index + 1
        }
        bytes.append(copying: utf8.extracting(start...))
        bytes.append(UInt8(ascii: "\""))
    }

    package mutating func value(_ number: Int) {
        separate()
        bytes.append(decimal: number)
    }

    package mutating func value(_ flag: Bool) {
        separate()
        bytes.append(contentsOf: (flag ? "true" : "false").utf8)
    }

    package mutating func null() {
        separate()
        bytes.append(contentsOf: "null".utf8)
    }

    /// Writes a duration as seconds with three decimals.
    package mutating func seconds(nanoseconds: UInt64) {
        separate()
        let milliseconds = nanoseconds / 1_000_000
        let fraction = String(1000 + milliseconds % 1000).dropFirst()
        bytes.append(contentsOf: "\(milliseconds / 1000).\(fraction)".utf8)
    }

    /// Writes a number of thousandths as a decimal: 1500 becomes 1.500.
    package mutating func thousandths(_ number: Int) {
        separate()
        bytes.append(contentsOf: "\(number / 1000).\(String(1000 + number % 1000).dropFirst())".utf8)
    }

    /// Writes a value that is already JSON.
    package mutating func value(json text: String) {
        separate()
        bytes.append(contentsOf: text.utf8)
    }

    package mutating func member(_ name: String, _ texts: [String]) {
        key(name)
        beginArray()
        for text in texts { value(text) }
        endArray()
    }

    package mutating func member(_ name: String, _ text: String) {
        key(name)
        value(text)
    }

    package mutating func member(_ name: String, _ text: String?) {
        key(name)
        if let text { value(text) } else { null() }
    }

    package mutating func member(_ name: String, _ number: Int) {
        key(name)
        value(number)
    }

    private mutating func begin(_ bracket: Unicode.Scalar) {
        separate()
        bytes.append(UInt8(ascii: bracket))
        needsComma = false
    }

    private mutating func end(_ bracket: Unicode.Scalar) {
        bytes.append(UInt8(ascii: bracket))
        needsComma = true
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    private static func isEscaped(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }

    private mutating func append(escaping byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            bytes.append(UInt8(ascii: "\\"))
            bytes.append(byte)
        case 0x0A: bytes.append(contentsOf: "\\n".utf8)
        case 0x0D: bytes.append(contentsOf: "\\r".utf8)
        case 0x09: bytes.append(contentsOf: "\\t".utf8)
        default:
            bytes.append(contentsOf: "\\u00".utf8)
            for digit in [byte >> 4, byte & 15] {
                bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            }
        }
    }
}
