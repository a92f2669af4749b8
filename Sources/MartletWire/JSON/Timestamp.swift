// SPDX-License-Identifier: Apache-2.0

/// Formats times as text.
package enum Timestamp {
    /// Returns a time in ISO 8601, in UTC with milliseconds: `2026-11-22T22:57:30.278Z`.
    ///
    /// A time before 1970 becomes 1970, and a time after ``latest`` becomes that, because a year has four digits.
    package static func text(unixMilliseconds: Int64) -> String {
        let milliseconds = min(max(0, unixMilliseconds), latest)
        let inDay = milliseconds % 86_400_000
        let date = CivilDate(daysSinceEpoch: milliseconds / 86_400_000)
        var text: [UInt8] = []
        text.reserveCapacity(24)
        text.append(decimal: date.year, width: 4)
        text.append("-")
        text.append(decimal: date.month, width: 2)
        text.append("-")
        text.append(decimal: date.day, width: 2)
        text.append("T")
        text.append(decimal: inDay / 3_600_000, width: 2)
        text.append(":")
        text.append(decimal: inDay / 60_000 % 60, width: 2)
        text.append(":")
        text.append(decimal: inDay / 1000 % 60, width: 2)
        text.append(".")
        text.append(decimal: inDay % 1000, width: 3)
        text.append("Z")
        return String(decoding: text, as: UTF8.self)
    }

    /// The last time that can be formatted, in Unix milliseconds: the end of the year 9999.
    package static let latest: Int64 = 253_402_300_799_999
}
