// SPDX-License-Identifier: Apache-2.0

/// The `Date` field of answers (RFC 9110, 6.6.1), made once a second and shared by all answers of that second.
package struct HTTPDate: Equatable, Sendable {
    private let second: Int64
    /// The whole line, such as `Date: Sun, 06 Nov 1994 08:49:37 GMT`, with its end.
    package let field: [UInt8]

    /// Makes the date of a time, from 0 to the end of the year 9999.
    package init(unixSeconds: Int64) {
        second = unixSeconds
        let (days, inDay) = (unixSeconds / 86400, unixSeconds % 86400)
        let date = CivilDate(daysSinceEpoch: days)
        // The epoch was a Thursday.
        let weekday = Self.weekdays[Int((days + 4) % 7)]
        let time = [inDay / 3600, inDay / 60 % 60, inDay % 60].map { $0.padded(2) }.joined(separator: ":")
        let month = Self.months[Int(date.month) - 1]
        let text = "\(weekday), \(date.day.padded(2)) \(month) \(date.year.padded(4)) \(time) GMT"
        field = Array("Date: \(text)\r\n".utf8)
    }

    /// Returns this date, or a new one if the second is another.
    package func at(unixSeconds: Int64) -> HTTPDate {
        unixSeconds == second ? self : HTTPDate(unixSeconds: unixSeconds)
    }

    private static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
}
