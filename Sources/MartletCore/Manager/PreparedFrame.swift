// SPDX-License-Identifier: Apache-2.0

/// A frame that a ``Transport`` holds ready to be sent to any number of connections.
package struct PreparedFrame: Equatable, Sendable {
    /// The number by which the transport knows the frame.
    package let reference: UInt32
    /// The number of bytes on the wire.
    package let byteCount: UInt32

    package init(reference: UInt32, byteCount: UInt32) {
        self.reference = reference
        self.byteCount = byteCount
    }
}
