// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// The masking of payloads (RFC 6455, section 5.3), which is its own inverse.
package enum Masking {
    /// Copies `source` to `target`, which has room for it, and masks it with a key in the byte order of memory.
    @unsafe
    package static func copy(
        _ source: UnsafeRawPointer,
        _ count: Int,
        to target: UnsafeMutableRawPointer,
        key: UInt32
    ) {
        let wide = UInt64(key) << 32 | UInt64(key)
        var index = 0
        while index + 8 <= count {
            let word = unsafe source.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            unsafe target.storeBytes(of: word ^ wide, toByteOffset: index, as: UInt64.self)
            index += 8
        }
        while index < count {
            let byte = unsafe source.load(fromByteOffset: index, as: UInt8.self)
            let part = UInt8(truncatingIfNeeded: key.littleEndian >> UInt32(8 * (index & 3)))
            unsafe target.storeBytes(of: byte ^ part, toByteOffset: index, as: UInt8.self)
            index += 1
        }
    }
}
