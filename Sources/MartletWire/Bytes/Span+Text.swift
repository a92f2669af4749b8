// SPDX-License-Identifier: Apache-2.0

// Comparing parts of received bytes with words that we know, and making text of them.

extension Span<UInt8> {
    /// Returns true if a part has exactly the bytes of a word.
    package func has(_ word: StaticString, at range: Range<Int>) -> Bool {
        guard range.count == word.utf8CodeUnitCount else { return false }
        for index in 0..<range.count {
            guard unsafe self[range.lowerBound + index] == word.utf8Start[index] else { return false }
        }
        return true
    }

    /// Returns true if a part is a word, whose letters are lower-case, in upper or lower case.
    package func has(anyCaseOf word: StaticString, at range: Range<Int>) -> Bool {
        guard range.count == word.utf8CodeUnitCount else { return false }
        for index in 0..<range.count {
            let byte = self[range.lowerBound + index]
            let lower = byte &- 0x41 < 26 ? byte | 0x20 : byte
            guard unsafe lower == word.utf8Start[index] else { return false }
        }
        return true
    }

    /// Returns true if a part begins with a word.
    package func begins(with word: StaticString, at range: Range<Int>) -> Bool {
        let count = word.utf8CodeUnitCount
        return range.count >= count && has(word, at: range.lowerBound..<range.lowerBound + count)
    }

    /// Returns true if a part has exactly the bytes of a text.
    package func has(text: String, at range: Range<Int>) -> Bool {
        let utf8 = text.utf8
        guard range.count == utf8.count else { return false }
        var index = range.lowerBound
        for byte in utf8 {
            guard self[index] == byte else { return false }
            index += 1
        }
        return true
    }

    /// Returns a part as text; bytes that are not UTF-8 are replaced.
    package func text(at range: Range<Int>) -> String {
        unsafe extracting(range).withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// Returns a part without the spaces and tabs at both of its ends.
    package func trimmed(_ range: Range<Int>) -> Range<Int> {
        var (first, end) = (range.lowerBound, range.upperBound)
        while first < end, self[first] == 0x20 || self[first] == 0x09 { first += 1 }
        while end > first, self[end - 1] == 0x20 || self[end - 1] == 0x09 { end -= 1 }
        return first..<end
    }
}
