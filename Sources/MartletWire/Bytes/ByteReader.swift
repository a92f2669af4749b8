// SPDX-License-Identifier: Apache-2.0

/// Reads what a ``ByteWriter`` wrote; every length is checked against the bytes that there are.
package struct ByteReader {
    private let bytes: [UInt8]
    private let end: Int
    /// The index in the array where the next field begins.
    package private(set) var position: Int

    package init(_ bytes: [UInt8]) {
        self.init(bytes, in: 0..<bytes.count)
    }

    package init(_ bytes: [UInt8], in range: Range<Int>) {
        self.bytes = bytes
        position = range.lowerBound
        end = range.upperBound
    }

    package var remaining: Int { end - position }

    package mutating func integer<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) throws(WireError) -> Value
    {
        let size = Value.bitWidth / 8
        guard remaining >= size else { throw .truncated }
        var value: Value = 0
        for index in 0..<size { value |= Value(truncatingIfNeeded: bytes[position + index]) << Value(8 * index) }
        position += size
        return value
    }

    package mutating func flag() throws(WireError) -> Bool {
        switch try integer(UInt8.self) {
        case 0: return false
        case 1: return true
        default: throw .unknownValue
        }
    }

    package mutating func text(limit: Int = 65536) throws(WireError) -> String {
        let range = try field(limit: limit)
        guard let text = String(validating: bytes[range], as: UTF8.self) else { throw .notText }
        return text
    }

    package mutating func optionalText(limit: Int = 65536) throws(WireError) -> String? {
        guard try flag() else { return nil }
        return try text(limit: limit)
    }

    package mutating func raw(limit: Int) throws(WireError) -> [UInt8] {
        Array(bytes[try field(limit: limit)])
    }

    /// Reads a count of items, each of which takes at least `size` bytes.
    package mutating func count(ofAtLeast size: Int) throws(WireError) -> Int {
        let count = Int(try integer(UInt32.self))
        guard count * size <= remaining else { throw .truncated }
        return count
    }

    /// Skips a text.
    mutating func skipText(limit: Int = 65536) throws(WireError) { _ = try field(limit: limit) }

    /// Throws if something is left.
    package func finish() throws(WireError) {
        if remaining != 0 { throw .trailingBytes }
    }

    private mutating func field(limit: Int) throws(WireError) -> Range<Int> {
        let length = Int(try integer(UInt32.self))
        guard length <= limit else { throw .tooLong }
        guard length <= remaining else { throw .truncated }
        defer { position += length }
        return position..<position + length
    }
}
