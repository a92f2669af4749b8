// SPDX-License-Identifier: Apache-2.0

extension [UInt8] {
    /// Appends a span's bytes in one copy.
    package mutating func append(copying bytes: Span<UInt8>) {
        unsafe bytes.withUnsafeBufferPointer { unsafe self.append(contentsOf: $0) }
    }
}
