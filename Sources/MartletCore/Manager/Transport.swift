// SPDX-License-Identifier: Apache-2.0

/// The sockets that a manager sends through: a worker's are real, a test's are recorders.
///
/// One transport serves many connections; a handle names one of them. Nothing here waits for the network: a frame is
/// accepted into the connection's bounded queue, or refused at once.
package protocol Transport: AnyObject {
    /// Frames a text message once; the caller must ``release(_:)`` the frame when it has sent it everywhere.
    func prepare(_ text: Span<UInt8>) throws(SendFailure) -> PreparedFrame

    /// Queues the frame for one connection, and returns what became of it.
    func send(_ frame: PreparedFrame, to handle: Int) -> SendOutcome

    /// Ends the caller's hold on the frame.
    func release(_ frame: PreparedFrame)

    /// Begins the closing handshake after everything that is already queued; further sends are refused.
    func close(_ handle: Int, code: UInt16, reason: String)

    /// Returns true while the connection accepts messages.
    func isOpen(_ handle: Int) -> Bool

    /// Returns how many bytes wait in the connection's queue.
    func queuedBytes(_ handle: Int) -> Int
}
