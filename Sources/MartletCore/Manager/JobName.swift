// SPDX-License-Identifier: Apache-2.0

/// A job's id as a caller gave it.
package enum JobName: Equatable, Sendable, CustomStringConvertible {
    case text(String)
    case number(Int)
    /// Something that is neither text nor a number; the value is the name of its type.
    case other(String)

    /// The id, if it can be used: a number becomes its decimal text.
    ///
    /// Text that is empty, longer than 256 bytes, or the printed form of an object is a mistake of the caller; any
    /// other text is an id.
    package var usable: String? {
        switch self {
        case .number(let number): return String(number)
        case .other: return nil
        case .text(let text):
            // As Python prints an object: <WebSocket object at 0x7f01>.
            let isObject =
                text.contains(" object at 0x")
                || (text.hasPrefix("<") && text.hasSuffix(">") && text.contains(" at 0x"))
            return text.isEmpty || text.utf8.count > 256 || isObject ? nil : text
        }
    }

    /// Makes a new id: `job_` and 8 hexadecimal digits.
    package static func generated() -> String {
        let digits = String(UInt32.random(in: 0...UInt32.max), radix: 16)
        return "job_" + String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// Returns true for an id that ``generated()`` may have made.
    package static func isGenerated(_ job: String) -> Bool {
        job.hasPrefix("job_") && job.utf8.count == 12 && job.dropFirst(4).allSatisfy(\.isHexDigit)
    }

    /// Returns the metadata of a watcher's connection, as JSON.
    static func metadata(ofJob job: String) -> String {
        var escaped = ""
        for scalar in job.unicodeScalars {
            switch scalar {
            case "\"", "\\": escaped += "\\\(scalar)"
            case ..<" ":
                let digits = String(scalar.value, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return "{\"job_id\":\"\(escaped)\",\"connection_type\":\"job\"}"
    }

    package var description: String {
        switch self {
        case .text(let text): String(text.prefix(64))
        case .number(let number): "the number \(number)"
        case .other(let type): "something of type \(type)"
        }
    }
}
