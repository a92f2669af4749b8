internal import Logging
internal import MartletCore
internal import MartletWire

extension Logger.Level {
    /// Makes the level of a syslog priority.
    init(priority: UInt8) {
        switch priority {
        case ...3: self = .error
        case 4: self = .warning
        case 5, 6: self = .info
        default: self = .debug
        }
    }

    var syslogPriority: UInt8 {
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
