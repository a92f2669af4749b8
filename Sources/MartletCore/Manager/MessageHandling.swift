// SPDX-License-Identifier: Apache-2.0

/// What became of a client's message.
package enum MessageHandling: Equatable, Sendable {
    case handled
    /// No handler is installed, or the handler does not know such messages.
    case unhandled
    /// The handler failed; the client is told about it.
    case failed
    case unknownConnection
}
