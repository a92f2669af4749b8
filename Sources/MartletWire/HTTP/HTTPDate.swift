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
        var text: [UInt8] = []
        text.append("Date: ")
        text.append(contentsOf: "\(weekday), ".utf8)
        text.append(decimal: date.day, width: 2)
        text.append(contentsOf: " \(Self.months[Int(date.month) - 1]) ".utf8)
        text.append(decimal: date.year, width: 4)
        text.append(" ")
        text.append(decimal: inDay / 3600, width: 2)
        text.append(":")
        text.append(decimal: inDay / 60 % 60, width: 2)
        text.append(":")
        text.append(decimal: inDay % 60, width: 2)
        text.append(" GMT\r\n")
        field = text
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
