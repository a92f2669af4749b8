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
        let time = [inDay / 3_600_000, inDay / 60_000 % 60, inDay / 1000 % 60].map { $0.padded(2) }
        return "\(date.year.padded(4))-\(date.month.padded(2))-\(date.day.padded(2))T\(time.joined(separator: ":"))"
            + ".\((inDay % 1000).padded(3))Z"
    }

    /// The last time that can be formatted, in Unix milliseconds: the end of the year 9999.
    package static let latest: Int64 = 253_402_300_799_999
}

extension Int64 {
    /// Returns the number in decimal, with leading zeros up to a width.
    func padded(_ width: Int) -> String {
        let digits = String(self)
        return String(repeating: "0", count: Swift.max(0, width - digits.count)) + digits
    }
}
