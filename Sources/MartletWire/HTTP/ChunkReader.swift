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

    private enum State {
        /// In the digits of a size, or at their beginning.
        case size
        /// After a space behind a size, which only extensions may follow.
        case spaceAfterSize
        case extensions
        /// Before the line feed after a size.
        case endOfSize
        case data
        /// Before the carriage return after a chunk.
        case endOfData
        /// Before the line feed after a chunk.
        case feedAfterData
        /// At the beginning of a line of the trailer.
        case trailer
        case trailerName
        case trailerValue
        /// Before the line feed after a field of the trailer.
        case endOfField
        /// Before the line feed after the whole body.
        case endOfTrailer
        case end
    }

    private var state = State.size
    /// Why the rest cannot be read; what came before it was.
    private(set) var problem: HTTPProblem?
    /// How many bytes of the chunk are to come.
    private var size = 0
    private var digits = 0
    /// How many bytes the current line has; of the trailer, all its lines.
    private var lineBytes = 0
    /// How many fields the trailer has so far.
    private var fields = 0
    /// How many bytes of body were found.
    private(set) var count = 0

    /// True if the whole body has come.
    var isComplete: Bool { state == .end }

    /// Reads the bytes from `start` to the end of the input, and leaves only the body's bytes of them there.
    ///
    /// Returns the index after these. When the body is complete, what follows it in the input is the next request's;
    /// before that, nothing follows, unless there is a ``problem``. `most` is how many bytes the body may have in all.
    mutating func read(_ input: inout [UInt8], from start: Int, most: Int) -> Int {
        var (at, end) = (start, start)
        while at < input.count, state != .end, problem == nil {
            guard state == .data else {
                do throws(HTTPProblem) {
                    try take(input[at], most: most)
                } catch {
                    problem = error
                }
                at += 1
                continue
            }
            let piece = min(size, input.count - at)
            if at > end { Self.move(&input, from: at, to: end, count: piece) }
            at += piece
            end += piece
            size -= piece
            if size == 0 { state = .endOfData }
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
        switch state {
        case .size: try takeSize(byte, most: most)
        case .spaceAfterSize:
            try count(byte, most: Self.mostLineBytes)
            if byte == UInt8(ascii: ";") { return state = .extensions }
            guard byte == 0x20 || byte == 0x09 else { throw Self.malformed }
        case .extensions:
            if byte == 0x0D { return state = .endOfSize }
            try count(byte, most: Self.mostLineBytes)
        case .endOfSize:
            try expect(0x0A, byte)
            state = size == 0 ? .trailer : .data
            lineBytes = 0
        case .endOfData:
            try expect(0x0D, byte)
            state = .feedAfterData
        case .feedAfterData:
            try expect(0x0A, byte)
            (state, size, digits, lineBytes) = (.size, 0, 0, 0)
        case .trailer, .trailerName, .trailerValue, .endOfField, .endOfTrailer: try takeTrailer(byte)
        case .data, .end: break
        }
    }

    /// Takes a byte of the trailer: fields as in a head, which nobody reads, and a blank line.
    private mutating func takeTrailer(_ byte: UInt8) throws(HTTPProblem) {
        switch state {
        case .trailer where byte == 0x0D: state = .endOfTrailer
        case .trailer, .trailerName:
            try count(byte, most: HTTPHead.mostBytes)
            if state == .trailerName, byte == UInt8(ascii: ":") { return state = .trailerValue }
            guard HTTPSyntax.isToken(byte) else { throw Self.malformed }
            if state == .trailer { fields += 1 }
            if fields > HTTPHead.mostFields { throw .tooManyFields(limit: HTTPHead.mostFields) }
            state = .trailerName
        case .trailerValue:
            if byte == 0x0D { return state = .endOfField }
            try count(byte, most: HTTPHead.mostBytes)
        case .endOfField:
            try expect(0x0A, byte)
            state = .trailer
        default:
            try expect(0x0A, byte)
            state = .end
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
        case 0x0D: state = .endOfSize
        case UInt8(ascii: ";"): state = .extensions
        case 0x20, 0x09: state = .spaceAfterSize
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
