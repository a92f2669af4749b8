/// A frame that a ``Transport`` holds ready to be sent to any number of connections.
package struct PreparedFrame: Equatable, Sendable {
    /// What the transport knows it by.
    package let reference: UInt32
    /// Bytes on the wire.
    package let byteCount: UInt32

    package init(reference: UInt32, byteCount: UInt32) {
        self.reference = reference
        self.byteCount = byteCount
    }
}
