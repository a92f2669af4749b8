// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux

/// Why nothing can be taken over.
struct TakeOverProblem: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
