// SPDX-License-Identifier: Apache-2.0

package import Logging

/// The urgency of a log line as syslog(3) numbers it, which is how it travels between processes and to the journal.
extension Logger.Level {
    /// The level of a priority; what is more urgent than an error is critical.
    package init(priority: UInt8) {
        switch priority {
        case ...2: self = .critical
        case 3: self = .error
        case 4: self = .warning
        case 5: self = .notice
        case 6: self = .info
        default: self = .debug
        }
    }

    /// The priority, 2 (critical) to 7 (debug).
    package var priority: UInt8 {
        switch self {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
