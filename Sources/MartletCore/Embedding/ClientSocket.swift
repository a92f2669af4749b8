// SPDX-License-Identifier: Apache-2.0

/// One client's connection, as an application that embeds the library has it.
package protocol ClientSocket: AnyObject {
    /// Accepts a text message into a bounded queue, or says at once why it does not; it never waits for the network.
    func send(_ text: String) -> SendFailure?

    /// Begins the closing handshake.
    func close(code: UInt16, reason: String)

    /// True while the socket accepts messages.
    var isOpen: Bool { get }
}
