// SPDX-License-Identifier: Apache-2.0

/// Takes a body out of its chunks (RFC 9112, 7.1), in place, as the bytes come.
///
/// It is as strict as the reading of heads: sizes are hexadecimal digits, and lines end with CRLF. Extensions and
/// trailers are skipped.
struct ChunkReader {
    /// The most bytes that the line with a chunk's size may have.
    private static let mostLineBytes = 256
    /// The most digits of a size.
    private static let mostDigits = 15

    private enum Place {
        /// In the digits of a size, or at their beginning.
        case size
        case extensions
        /// Before the line feed after a size.
        case endOfSize
        case data
        /// Before the carriage return after a chunk.
        case endOfData
        /// Before the line feed after a chunk.
        case feedAfterData
        /// In a line of the trailer, or at its beginning.
        case trailer
        /// Before the line feed after a line of the trailer.
        case endOfTrailer
        case end
    }

    private var place = Place.size
    /// How many bytes of the chunk are to come.
    private var size = 0
    private var digits = 0
    /// How many bytes the current line has; of the trailer, all its lines.
    private var lineBytes = 0
    private var isLineEmpty = true
    /// How many bytes of body were found.
    private(set) var count = 0

    /// True if the whole body has come.
    var isComplete: Bool { place == .end }

    /// Reads the bytes from `start` to the end of the input, and leaves only the body's bytes of them there.
    ///
    /// Returns the index after these. When the body is complete, what follows it in the input is the next request's;
    /// before that, nothing follows. `most` is how many bytes the body may have in all.
    mutating func read(_ input: inout [UInt8], from start: Int, most: Int) throws(HTTPProblem) -> Int {
        var (at, end) = (start, start)
        while at < input.count, place != .end {
            guard place == .data else {
                try take(input[at], most: most)
                at += 1
                continue
            }
            let piece = min(size, input.count - at)
            if at > end { Self.move(&input, from: at, to: end, count: piece) }
            at += piece
            end += piece
            size -= piece
            if size == 0 { place = .endOfData }
        }
        if at > end { input.removeSubrange(end..<at) }
        return end
    }

    private static func move(_ input: inout [UInt8], from source: Int, to target: Int, count: Int) {
        unsafe input.withUnsafeMutableBytes { bytes in
            let piece = unsafe UnsafeRawBufferPointer(rebasing: bytes[source..<source + count])
            unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[target...]).copyMemory(from: piece)
        }
    }

    /// Takes a byte that does not belong to the body.
    private mutating func take(_ byte: UInt8, most: Int) throws(HTTPProblem) {
        switch place {
        case .size: try takeSize(byte, most: most)
        case .extensions:
            if byte == 0x0D { return place = .endOfSize }
            try count(byte, most: Self.mostLineBytes)
        case .endOfSize:
            try expect(0x0A, byte)
            place = size == 0 ? .trailer : .data
            (lineBytes, isLineEmpty) = (0, true)
        case .endOfData:
            try expect(0x0D, byte)
            place = .feedAfterData
        case .feedAfterData:
            try expect(0x0A, byte)
            (place, size, digits, lineBytes) = (.size, 0, 0, 0)
        case .trailer:
            if byte == 0x0D { return place = .endOfTrailer }
            isLineEmpty = false
            try count(byte, most: HTTPHead.mostBytes)
        case .endOfTrailer:
            try expect(0x0A, byte)
            place = isLineEmpty ? .end : .trailer
            isLineEmpty = true
        case .data, .end: break
        }
    }

    private mutating func takeSize(_ byte: UInt8, most: Int) throws(HTTPProblem) {
        if let digit = Hexadecimal.value(of: byte) {
            digits += 1
            guard digits <= Self.mostDigits else { throw Self.malformed }
            size = size << 4 | Int(digit)
            return
        }
        guard digits > 0 else { throw Self.malformed }
        guard size <= most - count else { throw .bodyTooLarge(limit: most) }
        count += size
        switch byte {
        case 0x0D: place = .endOfSize
        case UInt8(ascii: ";"), 0x20, 0x09: place = .extensions
        default: throw Self.malformed
        }
    }

    /// Counts a byte of an extension or a trailer, neither of which may have control characters.
    private mutating func count(_ byte: UInt8, most: Int) throws(HTTPProblem) {
        lineBytes += 1
        guard lineBytes <= most, (byte >= 0x20 && byte != 0x7F) || byte == 0x09 else { throw Self.malformed }
    }

    private func expect(_ expected: UInt8, _ byte: UInt8) throws(HTTPProblem) {
        if byte != expected { throw Self.malformed }
    }

    private static let malformed = HTTPProblem.badRequest("the body's chunks are malformed")
}
