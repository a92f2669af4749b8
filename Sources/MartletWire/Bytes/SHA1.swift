// SPDX-License-Identifier: Apache-2.0

/// SHA-1 (RFC 3174), which the WebSocket handshake needs, and which must not be used for security.
package struct SHA1 {
    private static let blockSize = 64

    private var state: (UInt32, UInt32, UInt32, UInt32, UInt32) = (
        0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0
    )

    /// Returns the 20 bytes of the digest.
    package static func digest(_ message: [UInt8]) -> [UInt8] {
        let digest = digest(message.span)
        return digest.indices.map { digest[$0] }
    }

    /// Returns the 20 bytes of the digest.
    static func digest(_ message: Span<UInt8>) -> InlineArray<20, UInt8> {
        var sha = SHA1()
        var at = 0
        while at + blockSize <= message.count {
            sha.take(message.extracting(at..<at + blockSize))
            at += blockSize
        }
        // The rest, a bit, zeros, and the length in bits, in one block or two.
        var last = InlineArray<128, UInt8>(repeating: 0)
        let rest = message.count - at
        for index in 0..<rest { last[index] = message[at + index] }
        last[rest] = 0x80
        let end = rest + 9 <= blockSize ? blockSize : 2 * blockSize
        let bitCount = UInt64(message.count) * 8
        for index in 0..<8 { last[end - 1 - index] = UInt8(truncatingIfNeeded: bitCount >> UInt64(8 * index)) }
        for start in stride(from: 0, to: end, by: blockSize) {
            sha.take(last.span.extracting(start..<start + blockSize))
        }
        return sha.bytes
    }

    private var bytes: InlineArray<20, UInt8> {
        let words: InlineArray<5, UInt32> = [state.0, state.1, state.2, state.3, state.4]
        return InlineArray { index in UInt8(truncatingIfNeeded: words[index / 4] >> UInt32(24 - 8 * (index % 4))) }
    }

    /// Takes a block of 64 bytes.
    private mutating func take(_ block: Span<UInt8>) {
        var words = InlineArray<16, UInt32>(repeating: 0)
        for index in 0..<16 {
            let word = unsafe block.bytes.unsafeLoadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
            words[index] = UInt32(bigEndian: word)
        }
        var round = Round(state)
        for index in 0..<16 { round.mix(Choice.first, 0x5A82_7999, words[index]) }
        for index in 16..<20 { round.mix(Choice.first, 0x5A82_7999, Self.next(&words, index)) }
        for index in 20..<40 { round.mix(Choice.parity, 0x6ED9_EBA1, Self.next(&words, index)) }
        for index in 40..<60 { round.mix(Choice.majority, 0x8F1B_BCDC, Self.next(&words, index)) }
        for index in 60..<80 { round.mix(Choice.parity, 0xCA62_C1D6, Self.next(&words, index)) }
        state = (
            state.0 &+ round.a, state.1 &+ round.b, state.2 &+ round.c, state.3 &+ round.d, state.4 &+ round.e
        )
    }

    /// Makes the next word from the last 16, in the place of the oldest.
    private static func next(_ words: inout InlineArray<16, UInt32>, _ index: Int) -> UInt32 {
        let mixed = words[(index + 13) & 15] ^ words[(index + 8) & 15] ^ words[(index + 2) & 15] ^ words[index & 15]
        words[index & 15] = rotate(mixed, 1)
        return words[index & 15]
    }

    /// The functions of RFC 3174, section 5.
    private enum Choice {
        static func first(_ b: UInt32, _ c: UInt32, _ d: UInt32) -> UInt32 { d ^ (b & (c ^ d)) }
        static func parity(_ b: UInt32, _ c: UInt32, _ d: UInt32) -> UInt32 { b ^ c ^ d }
        static func majority(_ b: UInt32, _ c: UInt32, _ d: UInt32) -> UInt32 { (b & c) | (d & (b | c)) }
    }

    /// The five words while a block is taken.
    private struct Round {
        private(set) var a, b, c, d, e: UInt32

        init(_ state: (UInt32, UInt32, UInt32, UInt32, UInt32)) { (a, b, c, d, e) = state }

        @inline(__always)
        mutating func mix(_ choice: (UInt32, UInt32, UInt32) -> UInt32, _ constant: UInt32, _ word: UInt32) {
            let sum = SHA1.rotate(a, 5) &+ choice(b, c, d) &+ e &+ constant &+ word
            (e, d, c, b, a) = (d, c, SHA1.rotate(b, 30), a, sum)
        }
    }

    private static func rotate(_ value: UInt32, _ count: UInt32) -> UInt32 { value << count | value >> (32 - count) }
}
