// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// The coding of the publishes of a batch that go to one shard together, in the text of a ``Command/batch``.
///
/// Each publish is the lengths of its request and its text, and then both.
package enum BatchCoding {
    /// The largest frame: a larger one would make others wait.
    package static let largestFrame = 262_144
    package static let mostPublishes = 1024

    package static func append(_ request: Request, text: Span<UInt8>, to bytes: inout [UInt8]) {
        let encoded = CommandCoding.encode(request)
        append(UInt32(encoded.count), to: &bytes)
        append(UInt32(text.count), to: &bytes)
        bytes.append(contentsOf: encoded)
        bytes.append(copying: text)
    }

    /// Calls `visit` with each publish, in order; stops and throws if the bytes are malformed.
    package static func forEach(
        in bytes: [UInt8],
        _ range: Range<Int>,
        _ visit: (Request, _ text: Range<Int>) -> Void
    ) throws(WireError) {
        var position = range.lowerBound
        while position < range.upperBound {
            guard range.upperBound - position >= 8 else { throw .truncated }
            let requestLength = length(bytes, position)
            let textLength = length(bytes, position + 4)
            position += 8
            guard range.upperBound - position >= requestLength + textLength else { throw .truncated }
            let text = position + requestLength..<position + requestLength + textLength
            let (request, textStart) = try CommandCoding.decode(bytes, in: position..<text.lowerBound)
            guard textStart == text.lowerBound, request.command.isPublish else { throw .unknownValue }
            visit(request, text)
            position = text.upperBound
        }
    }

    private static func append(_ number: UInt32, to bytes: inout [UInt8]) {
        for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
    }

    private static func length(_ bytes: [UInt8], _ offset: Int) -> Int {
        (0..<4).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
    }
}
