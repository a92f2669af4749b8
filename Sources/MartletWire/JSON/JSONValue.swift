// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// A decoded JSON value, for small documents such as a client's command, or an answer that `martletctl` prints.
///
/// It is never used for what backends publish, which is only checked (``JSONScanner``).
package enum JSONValue: Equatable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    /// A string with half of a surrogate pair (RFC 8259, 8.2): no `String` can hold it, and two would look equal.
    case brokenString
    case array([JSONValue])
    /// Members in the order of the text.
    case object([Member])

    package struct Member: Equatable, Sendable {
        package let key: String
        package let value: JSONValue
    }

    /// Decodes one value; the text must be valid JSON.
    package init(_ text: Span<UInt8>) throws(JSONFailure) {
        try JSONScanner.validate(text)
        var decoder = JSONDecoder()
        self = decoder.value(text)
    }

    package init(_ bytes: [UInt8]) throws(JSONFailure) {
        try self.init(bytes.span)
    }

    /// A member of an object; nil for anything else.
    package subscript(key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.key.isExactly(key) }?.value
    }

    package var string: String? {
        if case .string(let text) = self { return text }
        return nil
    }

    package var int: Int? {
        if case .number(let number) = self { return Int(exactly: number.rounded(.towardZero)) }
        return nil
    }

    package var double: Double? {
        if case .number(let number) = self { return number }
        return nil
    }

    package var array: [JSONValue] {
        if case .array(let values) = self { return values }
        return []
    }

    package var members: [Member] {
        if case .object(let members) = self { return members }
        return []
    }
}
