// SPDX-License-Identifier: Apache-2.0

/// A set of ASCII characters, as one bit each; looking one up takes a shift.
///
/// The bits are written as numbers, so that the compiler makes a constant of them; tests compare them with the
/// characters.
package struct ByteSet: Sendable {
    private let low: UInt64
    private let high: UInt64

    init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    package func contains(_ byte: UInt8) -> Bool {
        let bits = byte < 64 ? low : high
        return byte < 128 && bits >> UInt64(byte & 63) & 1 == 1
    }

    /// The characters of methods and field names (RFC 9110, 5.6.2).
    package static let token = ByteSet(low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE)
    /// The characters of a host: unreserved, sub-delimiters, and percent-encoding (RFC 3986, 3.2.2).
    package static let host = ByteSet(low: 0x2BFF_7FF2_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
    /// The characters of a request's target, which has no fragment (RFC 9112, 3.2).
    package static let target = ByteSet(low: 0xFFFF_FFF6_0000_0000, high: 0x7FFF_FFFF_FFFF_FFFF)
}
