// SPDX-License-Identifier: Apache-2.0

/// Checks that bytes are one JSON value (RFC 8259), without building anything.
///
/// What a backend posts is delivered byte for byte, so it is checked once, here, and never decoded. The text must be
/// UTF-8, as RFC 8259 requires between systems, and because the frame that carries it must be.
package struct JSONScanner {
    /// How deeply arrays and objects may be nested.
    package static let deepestNesting = 512

    private var offset = 0

    /// The open arrays and objects, outermost first, a bit each.
    private struct Nesting {
        private var bits = InlineArray<8, UInt64>(repeating: 0)
        private(set) var depth = 0

        /// Whether the innermost one is an object.
        var isObject: Bool { bits[(depth - 1) >> 6] >> UInt64((depth - 1) & 63) & 1 == 1 }

        mutating func begin(asObject: Bool) {
            let bit: UInt64 = 1 << UInt64(depth & 63)
            if asObject { bits[depth >> 6] |= bit } else { bits[depth >> 6] &= ~bit }
            depth += 1
        }

        mutating func end() { depth -= 1 }
    }

    private init() {}

    /// Throws unless `text` is exactly one JSON value with white space around it.
    package static func validate(_ text: Span<UInt8>) throws(JSONFailure) {
        var scanner = JSONScanner()
        try scanner.scanDocument(text)
    }

    private mutating func scanDocument(_ text: Span<UInt8>) throws(JSONFailure) {
        var open = Nesting()
        skipWhitespace(text)
        while true {
            // A value is expected here.
            switch peek(text) {
            case UInt8(ascii: "{"):
                try begin(text, &open, asObject: true)
                if peek(text) == UInt8(ascii: "}") { break }
                try scanKey(text)
                continue
            case UInt8(ascii: "["):
                try begin(text, &open, asObject: false)
                if peek(text) == UInt8(ascii: "]") { break }
                continue
            default:
                try scanScalar(text)
            }
            // A value, or the inside of an empty container, is complete: close containers, or go on to the next member.
            skipWhitespace(text)
            closing: while open.depth > 0 {
                let inObject = open.isObject
                guard let byte = peek(text) else { throw failure("the text ends inside a value") }
                switch byte {
                case UInt8(ascii: ","):
                    offset += 1
                    skipWhitespace(text)
                    if inObject { try scanKey(text) }
                    break closing
                case inObject ? UInt8(ascii: "}") : UInt8(ascii: "]"):
                    offset += 1
                    open.end()
                    skipWhitespace(text)
                default:
                    throw failure(inObject ? "expected , or }" : "expected , or ]")
                }
            }
            if open.depth == 0 { break }
        }
        if offset != text.count { throw failure("text after the value") }
    }

    private mutating func begin(_ text: Span<UInt8>, _ open: inout Nesting, asObject: Bool) throws(JSONFailure) {
        if open.depth == Self.deepestNesting { throw failure("nested deeper than \(Self.deepestNesting)") }
        open.begin(asObject: asObject)
        offset += 1
        skipWhitespace(text)
    }

    private mutating func scanKey(_ text: Span<UInt8>) throws(JSONFailure) {
        guard peek(text) == UInt8(ascii: "\"") else { throw failure("expected a key in quotes") }
        try scanString(text)
        skipWhitespace(text)
        guard peek(text) == UInt8(ascii: ":") else { throw failure("expected :") }
        offset += 1
        skipWhitespace(text)
    }

    private mutating func scanScalar(_ text: Span<UInt8>) throws(JSONFailure) {
        guard let byte = peek(text) else {
            throw failure(offset == 0 ? "the body is empty" : "the text ends where a value is expected")
        }
        switch byte {
        case UInt8(ascii: "\""): try scanString(text)
        case UInt8(ascii: "t"): try scan("true", text)
        case UInt8(ascii: "f"): try scan("false", text)
        case UInt8(ascii: "n"): try scan("null", text)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try scanNumber(text)
        default: throw failure("expected a value")
        }
    }

    private mutating func scan(_ word: StaticString, _ text: Span<UInt8>) throws(JSONFailure) {
        for character in "\(word)".utf8 {
            guard peek(text) == character else { throw failure("expected \(word)") }
            offset += 1
        }
    }

    private mutating func scanNumber(_ text: Span<UInt8>) throws(JSONFailure) {
        if peek(text) == UInt8(ascii: "-") { offset += 1 }
        if peek(text) == UInt8(ascii: "0") {
            offset += 1
        } else {
            try scanDigits(text)
        }
        if peek(text) == UInt8(ascii: ".") {
            offset += 1
            try scanDigits(text)
        }
        if let byte = peek(text), byte | 0x20 == UInt8(ascii: "e") {
            offset += 1
            if let sign = peek(text), sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { offset += 1 }
            try scanDigits(text)
        }
    }

    private mutating func scanDigits(_ text: Span<UInt8>) throws(JSONFailure) {
        let start = offset
        while let byte = peek(text), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { offset += 1 }
        if offset == start { throw failure("expected a digit") }
    }

    private mutating func scanString(_ text: Span<UInt8>) throws(JSONFailure) {
        offset += 1
        while true {
            let start = offset
            let isASCII: Bool
            (offset, isASCII) = text.endOfPlainText(from: start)
            if !isASCII { try checkUTF8(text, start..<offset) }
            guard let byte = peek(text) else { throw failure("the text ends inside a string") }
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                return
            case UInt8(ascii: "\\"): try scanEscape(text)
            default: throw failure("a control character inside a string")
            }
        }
    }

    private mutating func checkUTF8(_ text: Span<UInt8>, _ range: Range<Int>) throws(JSONFailure) {
        var validator = UTF8Validator()
        let valid = unsafe validator.acceptPrefix(of: text.extracting(range).bytes)
        guard valid == range.count, validator.isAtBoundary else {
            throw JSONFailure(offset: range.lowerBound + valid, why: "not UTF-8")
        }
    }

    private mutating func scanEscape(_ text: Span<UInt8>) throws(JSONFailure) {
        offset += 1
        guard let byte = peek(text) else { throw failure("the text ends inside an escape") }
        switch byte {
        case UInt8(ascii: "u"):
            offset += 1
            for _ in 0..<4 {
                guard let digit = peek(text), Hexadecimal.value(of: digit) != nil else {
                    throw failure("expected four hexadecimal digits")
                }
                offset += 1
            }
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            offset += 1
        default: throw failure("unknown escape")
        }
    }

    private func peek(_ text: Span<UInt8>) -> UInt8? { offset < text.count ? text[offset] : nil }

    private mutating func skipWhitespace(_ text: Span<UInt8>) {
        while offset < text.count {
            switch text[offset] {
            case 0x20, 0x0A, 0x0D, 0x09: offset += 1
            default: return
            }
        }
    }

    private func failure(_ why: String) -> JSONFailure { JSONFailure(offset: offset, why: why) }
}
