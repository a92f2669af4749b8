// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A signal that a process handles as an event of its loop.
package enum Signal: Int32, Sendable, CaseIterable {
    case hangup = 1
    case interrupt = 2
    case quit = 3
    case terminate = 15

    package var name: String {
        switch self {
        case .hangup: "SIGHUP"
        case .interrupt: "SIGINT"
        case .quit: "SIGQUIT"
        case .terminate: "SIGTERM"
        }
    }
}
