/// A date of the proleptic Gregorian calendar.
struct CivilDate {
    let year: Int64
    /// From 1 to 12.
    let month: Int64
    let day: Int64

    /// `daysSinceEpoch`: days since 1970-01-01, not negative.
    init(daysSinceEpoch days: Int64) {
        // Years are counted from March, so that the day that some years have more is their last.
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
