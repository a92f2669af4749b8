// SPDX-License-Identifier: Apache-2.0

/// What became of a message for one connection.
package enum SendOutcome: Equatable, Sendable {
    /// The queue of its socket has taken it.
    case queued
    /// Its session, which has no socket now, holds it until the client comes back.
    case held
    case failed(SendFailure)
}
