/// Where the two streams of a connection stand, as the kernel says: it knows better than what a dead worker recorded.
package struct StreamPositions: Equatable, Sendable {
    /// Bytes of ours that the kernel has taken.
    package var written: UInt64
    /// Bytes of the client's that were received from it.
    package var read: UInt64

    package init(written: UInt64, read: UInt64) {
        self.written = written
        self.read = read
    }
}
