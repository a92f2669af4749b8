// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// How a process ended.
package enum ProcessEnd: Equatable, Sendable, CustomStringConvertible {
    case exited(code: Int32)
    case killed(signal: Int32)
    /// It was not our child, so only its parent knows how it ended.
    case unknown

    package var description: String {
        switch self {
        case .exited(let code): "exit \(code)"
        case .killed(let signal): "signal \(signal)"
        case .unknown: "unknown"
        }
    }
}
