// SPDX-License-Identifier: Apache-2.0

package import MartletCore
internal import MartletWire

// How the text of a value is read and shown.

extension ConfigurationKey {
    /// Returns all keys that are limits, with their values.
    package static func bounds(of configuration: Configuration) -> [SupervisorStatistics.Limit] {
        all.filter { $0.shape == .size || ($0.shape == .number && $0.name.hasPrefix("limits.")) }.compactMap { key in
            Int(key.get(configuration).text).map { SupervisorStatistics.Limit(key: key.name, value: $0) }
        }
    }

    static func number(_ text: String, _ key: String) throws(ConfigurationError) -> Int {
        guard let number = Int(text) else { throw ConfigurationError(key: key, why: "'\(text)' is not a whole number") }
        return number
    }

    /// Reads a duration such as `250ms`, `5s`, `2m` or `1h`.
    static func duration(_ text: String, _ key: String) throws(ConfigurationError) -> Duration {
        let digits = text.prefix { $0.isNumber }
        if let number = Int(digits), number <= 3_600_000 {
            switch text.dropFirst(digits.count) {
            case "ms": return .milliseconds(number)
            case "s": return .seconds(number)
            case "m": return .seconds(number * 60)
            case "h": return .seconds(number * 3600)
            default: break
            }
        }
        throw ConfigurationError(key: key, why: "'\(text)' is not a duration: write 250ms, 5s, 2m or 1h")
    }

    static func shown(_ duration: Duration) -> String {
        let milliseconds = duration.nanoseconds / 1_000_000
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }

    static func choice<Choice: RawRepresentable & CaseIterable>(
        _ text: String,
        _ key: String
    ) throws(ConfigurationError) -> Choice where Choice.RawValue == String {
        if let choice = Choice(rawValue: text) { return choice }
        let names = Choice.allCases.map(\.rawValue).joined(separator: ", ")
        throw ConfigurationError(key: key, why: "'\(text)' must be one of \(names)")
    }

    /// Reads a list of the file, or a text of the environment, which is split at commas, or is a JSON array.
    static func list(_ value: ConfigurationValue, _ key: String) throws(ConfigurationError) -> [String] {
        guard case .text(let text) = value else {
            if case .list(let list) = value { return list }
            return []
        }
        let trimmed = HTTPSyntax.trimmed(text[...])
        guard trimmed.hasPrefix("[") else { return text.split(separator: ",").map { HTTPSyntax.trimmed($0) } }
        guard let json = try? JSONValue(Array(trimmed.utf8)), case .array(let members) = json else {
            throw ConfigurationError(key: key, why: "is neither a,b nor a JSON array: [\"a\",\"b\"]")
        }
        let texts = members.compactMap { $0.string ?? $0.int.map(String.init) }
        guard texts.count == members.count else {
            throw ConfigurationError(key: key, why: "is a JSON array with something other than strings and numbers")
        }
        return texts
    }

    /// Reads a size such as `1048576`, `1024KiB`, `1MiB` or `1GiB`.
    static func size(_ text: String, _ key: String) throws(ConfigurationError) -> Int {
        let digits = text.prefix { ("0"..."9").contains($0) }
        let units = ["": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40]
        if let unit = units[HTTPSyntax.trimmed(text.dropFirst(digits.count))], let number = Int(digits) {
            let (bytes, isTooMuch) = number.multipliedReportingOverflow(by: unit)
            if !isTooMuch { return bytes }
        }
        throw ConfigurationError(key: key, why: "'\(text)' is not a size: write 1048576, 1024KiB, 1MiB or 1GiB")
    }
}

/// A value as one text, or as a list of texts.
enum ConfigurationValue: Equatable, Sendable {
    case text(String)
    case list([String])

    /// The value as one text, with a list's members joined by commas.
    var text: String {
        switch self {
        case .text(let text): text
        case .list(let list): list.joined(separator: ",")
        }
    }
}
