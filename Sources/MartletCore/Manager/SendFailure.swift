// SPDX-License-Identifier: Apache-2.0

/// Why a connection did not take a message.
package enum SendFailure: UInt8, Error, Sendable {
    /// The connection is closed or closing.
    case closed
    /// The connection's outbound queue is full.
    case queueFull
    /// The message is larger than the limit.
    case tooLarge
    /// The shard has no memory left for frames.
    case outOfMemory
    /// The message is not text that a frame can carry.
    case notEncodable
    /// The sender exceeds its rate.
    case rateLimited
}
