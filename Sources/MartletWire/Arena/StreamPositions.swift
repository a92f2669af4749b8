// SPDX-License-Identifier: Apache-2.0

/// How far the two streams of a connection have come, as the kernel says, which knows better than a dead worker's
/// record.
package struct StreamPositions: Equatable, Sendable {
    /// How many bytes the kernel has taken from us.
    package var written: UInt64
    /// How many bytes of the client's were received from the kernel.
    package var read: UInt64

    package init(written: UInt64, read: UInt64) {
        self.written = written
        self.read = read
    }
}
