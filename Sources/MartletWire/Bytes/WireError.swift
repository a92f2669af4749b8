/// A message that does not follow its format.
package enum WireError: Error, Equatable, Sendable {
    /// It ends before its last field.
    case truncated
    /// A length is beyond what the format allows.
    case tooLong
    /// A field has a value that this version does not know.
    case unknownValue
    /// It was made by a version that this one cannot read.
    case wrongVersion
    /// A text is not UTF-8.
    case notText
    /// Bytes are left after the last field.
    case trailingBytes
}
