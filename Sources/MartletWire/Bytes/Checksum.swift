// SPDX-License-Identifier: Apache-2.0

internal import CZlib

/// CRC-32 (IEEE 802.3) by zlib: finds torn or foreign bytes in shared memory.
package enum Checksum {
    package static func crc32(_ bytes: [UInt8], startingWith start: UInt32 = 0) -> UInt32 {
        let sum = unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe CZlib.crc32(UInt(start), buffer.baseAddress, UInt32(buffer.count))
        }
        return UInt32(truncatingIfNeeded: sum)
    }
}
