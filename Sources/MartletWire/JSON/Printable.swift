// SPDX-License-Identifier: Apache-2.0

/// Makes text from unknown sources safe for terminals and logs.
///
/// Characters that a terminal would act on, or that a reader could not see, are written as a JSON escape (`\u202e`).
/// These are control characters, marks that change the direction of writing, line and paragraph separators, and
/// unassigned characters.
package enum Printable {
    /// Returns the text as one line of printable characters.
    package static func text(_ text: String) -> String {
        escaped(text, controlsToo: true)
    }

    /// Returns JSON with the same meaning, in which such characters are escaped: they can only be in strings.
    ///
    /// Line feeds between values remain.
    package static func json(_ text: String) -> String {
        escaped(text, controlsToo: false)
    }

    private static func escaped(_ text: String, controlsToo: Bool) -> String {
        // Most text is plain.
        if text.utf8.allSatisfy({ (0x20..<0x7F).contains($0) }) { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            let isControl = scalar.value < 0x20
            if isControl ? !controlsToo : isPrintable(scalar) {
                result.unicodeScalars.append(scalar)
            } else {
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return result
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned: false
        default: true
        }
    }
}
