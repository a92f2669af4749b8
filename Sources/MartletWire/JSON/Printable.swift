/// Text of strangers for terminals and logs: what a terminal would act on, or a reader could not see, is written as JSON would
/// escape it (`\u202e`).
///
/// Among these are control characters, marks that turn the direction of writing, line and paragraph separators, and
/// characters without a meaning.
package enum Printable {
    /// One line of printable characters.
    package static func text(_ text: String) -> String {
        escaped(text, controlsToo: true)
    }

    /// The same inside of a JSON text, which stays JSON of the same meaning: strings are the only place of such characters.
    ///
    /// Line feeds between values stay.
    package static func json(_ text: String) -> String {
        escaped(text, controlsToo: false)
    }

    private static func escaped(_ text: String, controlsToo: Bool) -> String {
        // Most of what is shown is plain.
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
