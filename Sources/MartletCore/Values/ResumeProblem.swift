// SPDX-License-Identifier: Apache-2.0

/// Why a session cannot be resumed.
package enum ResumeProblem: String, Error, CaseIterable, Sendable {
    /// There is no such session any more: it has ended, or waited too long.
    case expired
    /// Messages that the client has not received are not held any more.
    case overflow
    /// The token is not this user's, or not good any more.
    case unknown
    /// The new token does not name a room that the session is in.
    case forbidden
    /// The client counts more messages than there were.
    case ahead

    package var counter: Counter {
        switch self {
        case .expired: .resumesExpired
        case .overflow: .resumesOverflowed
        case .unknown: .resumesUnknown
        case .forbidden: .resumesForbidden
        case .ahead: .resumesAhead
        }
    }
}
