// SPDX-License-Identifier: Apache-2.0

// Searching eight bytes at a time. In each word, arithmetic marks the bytes that are searched for by their highest bit. A
// borrow can wrongly mark only a byte above one that is marked rightly, so the lowest mark is right.

private let ones: UInt64 = 0x0101_0101_0101_0101
private let highBits: UInt64 = 0x8080_8080_8080_8080

extension Span<UInt8> {
    /// Returns the index of the first byte of this value in a range; nil if there is none.
    func firstIndex(of value: UInt8, in range: Range<Int>) -> Int? {
        let raw = unsafe bytes
        let pattern = ones &* UInt64(value)
        var at = range.lowerBound
        while at + 8 <= range.upperBound {
            let word =
                unsafe UInt64(littleEndian: raw.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self)) ^ pattern
            let marked = (word &- ones) & ~word & highBits
            if marked != 0 { return at + marked.trailingZeroBitCount / 8 }
            at += 8
        }
        while at < range.upperBound {
            if self[at] == value { return at }
            at += 1
        }
        return nil
    }

    /// Finds the first quote, backslash or control character: what does not stand for itself in a string of JSON.
    ///
    /// Returns its index, or the number of bytes, and whether everything before it is ASCII.
    func endOfPlainText(from start: Int) -> (end: Int, isASCII: Bool) {
        let raw = unsafe bytes
        let (quotes, backslashes) = (ones &* 0x22, ones &* 0x5C)
        var at = start
        var seen: UInt64 = 0
        while at + 8 <= count {
            let word = unsafe UInt64(littleEndian: raw.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self))
            let (quote, backslash) = (word ^ quotes, word ^ backslashes)
            let special = (quote &- ones) & ~quote | (backslash &- ones) & ~backslash
            let marked = (special | (word &- ones &* 0x20) & ~word) & highBits
            guard marked == 0 else {
                let before = marked.trailingZeroBitCount & ~7
                seen |= word & ((1 &<< UInt64(before)) &- 1)
                return (at + before / 8, seen & highBits == 0)
            }
            seen |= word
            at += 8
        }
        while at < count, self[at] >= 0x20, self[at] != 0x22, self[at] != 0x5C {
            seen |= UInt64(self[at])
            at += 1
        }
        return (at, seen & highBits == 0)
    }

    /// Finds the first control character but tabs; the number of bytes if there is none.
    func endOfLineText(from start: Int) -> Int {
        let raw = unsafe bytes
        var at = start
        while at + 8 <= count {
            let word = unsafe UInt64(littleEndian: raw.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self))
            let delete = word ^ (ones &* 0x7F)
            let marked = ((word &- ones &* 0x20) & ~word | (delete &- ones) & ~delete) & highBits
            guard marked != 0 else {
                at += 8
                continue
            }
            at += marked.trailingZeroBitCount / 8
            if self[at] != 0x09 { return at }
            at += 1
        }
        while at < count, (self[at] >= 0x20 && self[at] != 0x7F) || self[at] == 0x09 { at += 1 }
        return at
    }
}
