// SPDX-License-Identifier: Apache-2.0

/// Builds binary messages: little-endian integers, and texts that follow their length.
package struct ByteWriter {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    /// Makes a writer with room for so many bytes, which grows if there are more.
    package init(capacity: Int) { bytes.reserveCapacity(capacity) }

    package mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
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

    /// Appends bytes without a length, as the rest of a message.
    package mutating func append(_ raw: Span<UInt8>) {
        bytes.append(copying: raw)
    }
}
