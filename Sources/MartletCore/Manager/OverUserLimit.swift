// SPDX-License-Identifier: Apache-2.0

/// What happens to a new connection beyond ``WebSocketManager/Limits/connectionsPerUser``.
package enum OverUserLimit: String, CaseIterable, Sendable {
    /// The new connection is refused.
    case reject
    /// The new connection takes the place of the user's oldest one, which is closed with 4409.
    case replaceOldest = "replace_oldest"
}
