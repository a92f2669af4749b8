// SPDX-License-Identifier: Apache-2.0

/// Why text is not JSON, and where.
package struct JSONFailure: Error, Equatable, Sendable {
    /// The offset of the first byte that cannot be right.
    package let offset: Int
    /// What is wrong there.
    package let why: String

    package init(offset: Int, why: String) {
        self.offset = offset
        self.why = why
    }
}
