// SPDX-License-Identifier: Apache-2.0

/// Text that is equal only to the same bytes.
///
/// Swift's strings are equal if they look the same (`é` as one character and as two). Ids of users and rooms are
/// opaque: two that differ in one byte are different. Whatever is keyed by such an id is keyed by this type.
package struct ExactText: Hashable, Comparable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    package let text: String

    package init(_ text: String) {
        self.text = text
    }

    package init(stringLiteral text: String) {
        self.text = text
    }

    package static func == (left: ExactText, right: ExactText) -> Bool { left.text.isExactly(right.text) }

    package static func < (left: ExactText, right: ExactText) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { bytes in unsafe hasher.combine(bytes: UnsafeRawBufferPointer(bytes)) }
        hasher.combine(0xFF as UInt8)  // never a byte of UTF-8, so that neighbours in a key stay apart
    }

    package var description: String { text }
}

extension String {
    /// Returns true if both strings have the same bytes.
    package func isExactly(_ other: String) -> Bool {
        let (left, right) = (utf8.span, other.utf8.span)
        guard left.count == right.count else { return false }
        for index in left.indices where left[index] != right[index] { return false }
        return true
    }
}
