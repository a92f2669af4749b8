// SPDX-License-Identifier: Apache-2.0

/// Why a message does not follow its format.
package enum WireError: Error, Equatable, Sendable {
    /// The message ends before its last field.
    case truncated
    /// A length is more than the format allows.
    case tooLong
    /// A field has a value that this version does not know.
    case unknownValue
    /// The message was made by a version that this one cannot read.
    case wrongVersion
    /// A text is not UTF-8.
    case notText
    /// Bytes are left after the last field.
    case trailingBytes
}
