// SPDX-License-Identifier: Apache-2.0

/// Memory that is reused for one message after another.
@safe
struct Scratch: ~Copyable {
    private static let kept = 262_144

    private var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16384, alignment: 16)

    /// Returns at least `count` bytes, which are valid until the next call.
    ///
    /// The memory for a rare giant message is given back by the next message.
    @unsafe
    mutating func room(for count: Int) -> UnsafeMutableRawBufferPointer {
        if unsafe buffer.count < count || (buffer.count > Self.kept && count <= Self.kept) {
            unsafe buffer.deallocate()
            unsafe buffer = .allocate(byteCount: max(count, 16384), alignment: 16)
        }
        return unsafe buffer
    }

    deinit {
        unsafe buffer.deallocate()
    }
}
