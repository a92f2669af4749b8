// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// A message of a continuity run: `{"u":NUMBER,"t":NANOSECONDS,...}`.
///
/// The letter is its sequence, and the time is when it was first sent, so that the longest latency of a connection is
/// its stall.
struct NumberedMessage {
    /// What is numbered by itself: messages to a user, to everybody, to the thread, and what comes back to a client.
    enum Sequence: Int, CaseIterable {
        case user, broadcast, thread, echo

        fileprivate static let letters = Array("ubte".utf8)
        fileprivate var letter: String { String(UnicodeScalar(Self.letters[rawValue])) }
    }

    let sequence: Sequence
    let number: Int
    let sentAt: UInt64

    /// Reads a message without a JSON decoder; nil for anything that is not one of ours.
    init?(_ message: ByteBuffer) {
        guard let parts = message.withUnsafeReadableBytes(Self.parse) else { return nil }
        (sequence, number, sentAt) = parts
    }

    private static func parse(_ bytes: UnsafeRawBufferPointer) -> (Sequence, Int, UInt64)? {
        guard bytes.count > 12, bytes[1] == UInt8(ascii: "\""), bytes[3] == UInt8(ascii: "\""),
            let sequence = Sequence.letters.firstIndex(of: bytes[2]).flatMap(Sequence.init)
        else { return nil }
        var index = 5
        func number() -> UInt64 {
            var value: UInt64 = 0
            while index < bytes.count, (0x30...0x39).contains(bytes[index]) {
                value = value &* 10 &+ UInt64(bytes[index] - 0x30)
                index += 1
            }
            return value
        }
        let first = number()
        index += 5
        return (sequence, Int(first), number())
    }

    /// Makes the text of a message that is sent now.
    static func text(_ sequence: Sequence, _ number: Int, padding: Int) -> ByteBuffer {
        let text = "{\"\(sequence.letter)\":\(number),\"t\":\(NIODeadline.now().uptimeNanoseconds),\"p\":\""
        return ByteBuffer(string: text + String(repeating: "x", count: padding) + "\"}")
    }
}
