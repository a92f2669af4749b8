// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Pauses a command-line tool that shows something again and again.
package enum Pause {
    package static func seconds(_ count: UInt32) { _ = sleep(count) }
}
