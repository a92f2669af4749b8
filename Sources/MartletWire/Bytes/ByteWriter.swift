/// Builds binary messages: little-endian integers, and texts with their length before them.
package struct ByteWriter {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    package mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        for shift in stride(from: 0, to: Value.bitWidth, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> Value(shift)))
        }
    }

    package mutating func put(_ flag: Bool) {
        bytes.append(flag ? 1 : 0)
    }

    package mutating func put(_ text: String) {
        put(UInt32(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    package mutating func put(_ text: String?) {
        put(text != nil)
        if let text { put(text) }
    }

    package mutating func put(_ raw: [UInt8]) {
        put(UInt32(raw.count))
        bytes.append(contentsOf: raw)
    }

    /// Appends without a length: what fills the rest of a message.
    package mutating func append(_ raw: Span<UInt8>) {
        bytes.reserveCapacity(bytes.count + raw.count)
        for index in raw.indices { bytes.append(raw[index]) }
    }
}

/// A message that does not follow its format.
package enum WireError: Error, Equatable, Sendable {
    /// It ends before its last field.
    case truncated
    /// A length is beyond what the format allows.
    case tooLong
    /// A field has a value that this version does not know.
    case unknownValue
    /// It was made by a version that this one cannot read.
    case wrongVersion
    /// A text is not UTF-8.
    case notText
    /// Bytes are left after the last field.
    case trailingBytes
}

/// Reads what a ``ByteWriter`` wrote; every length is checked against what is there.
package struct ByteReader {
    private let bytes: [UInt8]
    private let end: Int
    /// Where the next field begins, as an index into the array.
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

    /// A count of things of which each takes at least `size` bytes.
    package mutating func count(ofAtLeast size: Int) throws(WireError) -> Int {
        let count = Int(try integer(UInt32.self))
        guard count * size <= remaining else { throw .truncated }
        return count
    }

    /// Passes over a text.
    mutating func skipText(limit: Int = 65536) throws(WireError) { _ = try field(limit: limit) }

    /// Throws where something is left.
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
