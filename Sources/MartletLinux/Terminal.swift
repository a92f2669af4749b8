// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// The terminal of standard output.
package enum Terminal {
    /// The numbers of columns and rows; nil if standard output is not a terminal.
    package static var size: (columns: Int, rows: Int)? {
        var columns: Int32 = 0
        var rows: Int32 = 0
        guard unsafe martlet_terminal_size(1, &columns, &rows) == 0, columns > 0 else { return nil }
        return (Int(columns), Int(rows))
    }
}
