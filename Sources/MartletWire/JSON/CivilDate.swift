// SPDX-License-Identifier: Apache-2.0

/// A date of the proleptic Gregorian calendar.
struct CivilDate {
    let year: Int64
    /// The month, from 1 to 12.
    let month: Int64
    let day: Int64

    /// Makes the date of a day; `days` is the number of days since 1970-01-01, and not negative.
    init(daysSinceEpoch days: Int64) {
        // Years are counted from March, so that a leap day is the last day of its year.
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }
}
