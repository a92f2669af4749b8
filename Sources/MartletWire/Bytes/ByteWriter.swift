// SPDX-License-Identifier: Apache-2.0

/// Builds binary messages: little-endian integers, and texts that follow their length.
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

    /// Appends bytes without a length, as the rest of a message.
    package mutating func append(_ raw: Span<UInt8>) {
        bytes.reserveCapacity(bytes.count + raw.count)
        for index in raw.indices { bytes.append(raw[index]) }
    }
}
