/// What happens to a user's connection beyond ``WebSocketManager/Limits/connectionsPerUser``.
package enum OverUserLimit: String, CaseIterable, Sendable {
    /// It is refused.
    case reject
    /// It takes the place of the user's oldest one, which is closed with 4409.
    case replaceOldest = "replace_oldest"
}
