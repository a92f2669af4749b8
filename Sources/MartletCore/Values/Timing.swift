// SPDX-License-Identifier: Apache-2.0

/// The durations that Martlet measures.
package enum Timing: Int, CaseIterable, Sendable {
    /// From a publish's last byte to its answer.
    case publish
    /// From a WebSocket ping to its pong.
    case roundTrip
    /// From a request to another shard to its answer.
    case hop
}
