// SPDX-License-Identifier: Apache-2.0

/// Finds the members of an object in text that a ``JSONScanner`` has accepted, without building their values.
package enum JSONMembers {
    /// The longest text that anybody looks for.
    private static let longestText = 256

    /// Calls `visit` with each member of the outermost object; returns false if the text is not an object.
    ///
    /// `visit` learns where the key lies (between the quotes, still escaped), and where the value lies, without white
    /// space around it. This costs one pass over the bytes, whatever they are.
    @discardableResult
    package static func forEach(in text: Span<UInt8>, _ visit: (_ key: Range<Int>, _ value: Range<Int>) -> Void) -> Bool
    {
        var offset = skip(text, 0)
        guard offset < text.count, text[offset] == UInt8(ascii: "{") else { return false }
        offset = skip(text, offset + 1)
        while offset < text.count, text[offset] == UInt8(ascii: "\"") {
            let keyEnd = endOfString(text, offset)
            let key = offset + 1..<keyEnd - 1
            let start = skip(text, skip(text, keyEnd) + 1)
            let end = endOfValue(text, start)
            visit(key, start..<end)
            offset = skip(text, end)
            guard offset < text.count, text[offset] == UInt8(ascii: ",") else { return true }
            offset = skip(text, offset + 1)
        }
        return true
    }

    /// Finds the value of the last member with that name.
    package static func slice(of name: StaticString, in text: Span<UInt8>) -> Range<Int>? {
        var found: Range<Int>?
        forEach(in: text) { key, value in
            if equals(name, text, key) { found = value }
        }
        return found
    }

    /// Returns the string of the last member with that name; nil if there is none, or it is not a short string.
    package static func text(of name: StaticString, in text: Span<UInt8>) -> String? {
        slice(of: name, in: text).flatMap { string($0, in: text, longest: longestText) }
    }

    /// Returns the string that a value is; nil if it is not a string, or a longer one.
    package static func string(_ value: Range<Int>, in text: Span<UInt8>, longest: Int) -> String? {
        guard value.count >= 2, value.count <= longest * 6 + 2, text[value.lowerBound] == UInt8(ascii: "\"") else {
            return nil
        }
        let inside = value.lowerBound + 1..<value.upperBound - 1
        let isPlain = !inside.contains { text[$0] == UInt8(ascii: "\\") }
        let string = isPlain ? plain(text, inside) : (try? JSONValue(text.extracting(value)))?.string
        guard let string, string.utf8.count <= longest else { return nil }
        return string
    }

    /// Returns true if a string, between its quotes, is this name, in whatever way it is escaped.
    ///
    /// Names are compared after their escapes are resolved (RFC 8259, section 8.3).
    package static func equals(_ name: StaticString, _ text: Span<UInt8>, _ range: Range<Int>) -> Bool {
        range.count == name.utf8CodeUnitCount ? text.has(name, at: range) : equalsEscaped(name, text, range)
    }

    /// Compares a name with escaped text, in which one byte of the name may take up to six bytes.
    private static func equalsEscaped(_ name: StaticString, _ text: Span<UInt8>, _ range: Range<Int>) -> Bool {
        guard range.count > name.utf8CodeUnitCount, range.count <= 6 * name.utf8CodeUnitCount, range.lowerBound > 0,
            range.contains(where: { text[$0] == UInt8(ascii: "\\") })
        else { return false }
        let quoted = text.extracting(range.lowerBound - 1..<range.upperBound + 1)
        guard let string = (try? JSONValue(quoted))?.string else { return false }
        return unsafe string.utf8.elementsEqual(
            UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        )
    }

    private static func plain(_ text: Span<UInt8>, _ range: Range<Int>) -> String {
        unsafe text.extracting(range).withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }

    private static func skip(_ text: Span<UInt8>, _ start: Int) -> Int {
        var offset = start
        while offset < text.count, isSpace(text[offset]) { offset += 1 }
        return offset
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }

    /// Returns the offset after a value.
    private static func endOfValue(_ text: Span<UInt8>, _ start: Int) -> Int {
        guard start < text.count else { return start }
        var offset = start
        var depth = 0
        while offset < text.count {
            switch text[offset] {
            case UInt8(ascii: "\""):
                offset = endOfString(text, offset)
                if depth == 0 { return offset }
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 0 { return offset }  // the object ends after a number or a word
                depth -= 1
                if depth == 0 { return offset + 1 }
            case UInt8(ascii: ",") where depth == 0: return offset
            case 0x20, 0x0A, 0x0D, 0x09:
                if depth == 0 { return offset }
            default: break
            }
            offset += 1
        }
        return offset
    }

    /// Returns the offset after a string's closing quote.
    private static func endOfString(_ text: Span<UInt8>, _ start: Int) -> Int {
        var offset = start + 1
        while true {
            offset = text.endOfPlainText(from: offset).end
            guard offset < text.count, text[offset] != UInt8(ascii: "\"") else { return min(offset + 1, text.count) }
            offset += 2
        }
    }
}
