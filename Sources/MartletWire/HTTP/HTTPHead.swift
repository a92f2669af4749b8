// SPDX-License-Identifier: Apache-2.0

/// Where the parts of a head lie: what one pass over its bytes finds (RFC 9112, sections 2 to 5).
///
/// It is a strict reading: lines end with CRLF; there is no obsolete folding, no space before a colon, no control
/// character, and a field that must be there once is there once. Anything that a proxy in front of us might read
/// differently is refused, so that no request can be smuggled past it. Places are relative to the head's first byte.
struct HTTPHead {
    /// The most bytes that a head may have.
    static let mostBytes = 16384
    /// The most fields that a head may have.
    static let mostFields = 100

    /// A part of a head; a head is short enough for 16 bits.
    struct Place {
        let start: UInt16
        let count: UInt16

        init(_ range: Range<Int>) {
            start = UInt16(range.lowerBound)
            count = UInt16(range.count)
        }

        var range: Range<Int> { Int(start)..<Int(start) + Int(count) }
    }

    /// The places of the fields that we know; of a repeated one, the first.
    private var places = InlineArray<20, UInt32>(repeating: 0)
    /// The fields that were there more than once, a bit each.
    private var repeated: UInt32 = 0
    /// How many bytes the head has, with its blank line.
    private(set) var count = 0
    /// Where the first field begins.
    private(set) var fieldsStart = 0

    init() {}

    /// Returns where the value of a field lies, without the spaces around it; nil if the field is not there.
    subscript(field: HTTPField) -> Range<Int>? {
        let place = places[field.rawValue]
        guard place != 0 else { return nil }
        return Int(place >> 16)..<Int(place >> 16) + Int(place & 0xFFFF)
    }

    func isRepeated(_ field: HTTPField) -> Bool { repeated & 1 << UInt32(field.rawValue) != 0 }

    /// Puts a field into another place; places that were repeated are forgotten.
    mutating func set(_ field: HTTPField, to range: Range<Int>) {
        places[field.rawValue] = UInt32(range.lowerBound) << 16 | UInt32(range.count)
        repeated &= ~(1 << UInt32(field.rawValue))
    }

    private mutating func note(_ field: HTTPField, _ range: Range<Int>) {
        // No field begins at 0, where the first line is.
        if places[field.rawValue] == 0 {
            places[field.rawValue] = UInt32(range.lowerBound) << 16 | UInt32(range.count)
        } else {
            repeated |= 1 << UInt32(field.rawValue)
        }
    }

    /// Reads the fields, from `start` to the blank line after them; false if the bytes end before that.
    mutating func readFields(_ bytes: Span<UInt8>, from start: Int) throws(HTTPProblem) -> Bool {
        fieldsStart = start
        var line = Line(start: start)
        var fields = 0
        while true {
            switch try line.next(bytes) {
            case .incomplete: return false
            case .blank:
                count = line.end
                return true
            case .field:
                fields += 1
                if fields > Self.mostFields { throw .tooManyFields(limit: Self.mostFields) }
                if let field = HTTPField(bytes, named: line.name) { note(field, line.value) }
            }
        }
    }

    /// Returns true if there is a blank line in `bytes[start...]`, of which everything before `searchedTo` was searched.
    static func hasEnd(_ bytes: [UInt8], from start: Int, searchedTo: Int) -> Bool {
        var index = max(start, searchedTo - 3)
        let last = bytes.count - 4
        while index <= last {
            if bytes[index + 3] == 0x0A {
                if bytes[index] == 0x0D, bytes[index + 1] == 0x0A, bytes[index + 2] == 0x0D { return true }
                index += 2
            } else if bytes[index + 3] == 0x0D {
                index += 1
            } else {
                index += 4
            }
        }
        return false
    }

    /// Calls `body` with the place of each value of a field, in order.
    func forEach(_ field: HTTPField, in bytes: Span<UInt8>, _ body: (Range<Int>) -> Void) {
        guard let first = self[field] else { return }
        guard isRepeated(field) else { return body(first) }
        var line = Line(start: fieldsStart)
        while case .field = try? line.next(bytes) {
            if HTTPField(bytes, named: line.name) == field { body(line.value) }
        }
    }
}

extension HTTPHead {
    /// A line of a head that is read one after another.
    struct Line {
        enum Content {
            case field
            /// The line that ends the head.
            case blank
            /// The bytes end within the line.
            case incomplete
        }

        /// Where the next line begins.
        private(set) var end: Int
        private(set) var name = 0..<0
        private(set) var value = 0..<0

        init(start: Int) { end = start }

        mutating func next(_ bytes: Span<UInt8>) throws(HTTPProblem) -> Content {
            let count = bytes.count
            var colon = end
            while colon < count, HTTPSyntax.isToken(bytes[colon]) { colon += 1 }
            guard colon < count else { return .incomplete }
            if bytes[colon] == 0x0D, colon == end {
                guard colon + 1 < count else { return .incomplete }
                guard bytes[colon + 1] == 0x0A else { throw HTTPHead.strayReturn }
                end += 2
                return .blank
            }
            guard bytes[colon] == UInt8(ascii: ":"), colon > end else {
                throw .badRequest("a header field is malformed")
            }
            var first = colon + 1
            while first < count, bytes[first] == 0x20 || bytes[first] == 0x09 { first += 1 }
            guard let last = try HTTPHead.endOfLine(bytes, from: first) else { return .incomplete }
            name = end..<colon
            end = last + 2
            value = first..<last
            if last > first, bytes[last - 1] == 0x20 || bytes[last - 1] == 0x09 { value = bytes.trimmed(value) }
            return .field
        }
    }

    fileprivate static let strayReturn = HTTPProblem.badRequest("a carriage return without a line feed")

    /// Finds the carriage return that ends a line; nil if the bytes end before the line.
    static func endOfLine(_ bytes: Span<UInt8>, from start: Int) throws(HTTPProblem) -> Int? {
        let end = bytes.endOfLineText(from: start)
        guard end < bytes.count else { return nil }
        guard bytes[end] == 0x0D else { throw .badRequest("the head has a control character, or a bare line feed") }
        guard end + 1 < bytes.count else { return nil }
        guard bytes[end + 1] == 0x0A else { throw strayReturn }
        return end
    }
}
