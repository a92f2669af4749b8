// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux

/// Why the next program cannot go on.
struct UpgradeProblem: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
