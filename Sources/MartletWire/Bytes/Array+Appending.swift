// SPDX-License-Identifier: Apache-2.0

extension [UInt8] {
    /// Appends a span's bytes in one copy.
    package mutating func append(copying bytes: Span<UInt8>) {
        unsafe bytes.withUnsafeBufferPointer { unsafe self.append(contentsOf: $0) }
    }

    /// Appends a word that the program has, in one copy.
    package mutating func append(_ word: StaticString) {
        unsafe append(contentsOf: UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
    }

    /// Appends a number that is not negative in decimal, with leading zeros up to a width of at most 20.
    package mutating func append(decimal number: Int64, width: Int) {
        var rest = number
        let start = count
        append(contentsOf: repeatElement(UInt8(ascii: "0"), count: width))
        for index in stride(from: start + width - 1, through: start, by: -1) {
            self[index] = UInt8(truncatingIfNeeded: rest % 10) + UInt8(ascii: "0")
            rest /= 10
        }
    }

    /// Appends a number in decimal digits.
    package mutating func append(decimal number: Int) {
        if number < 0 { append(UInt8(ascii: "-")) }
        var rest = number.magnitude
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var first = digits.count
        repeat {
            first -= 1
            digits[first] = UInt8(truncatingIfNeeded: rest % 10) + UInt8(ascii: "0")
            rest /= 10
        } while rest > 0
        append(copying: digits.span.extracting(first...))
    }
}
