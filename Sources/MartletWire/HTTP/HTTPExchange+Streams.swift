// SPDX-License-Identifier: Apache-2.0

// Bodies that consist of lines, which are read and answered as they arrive.

extension HTTPExchange {
    /// How far the reading of a body of lines has come.
    struct LineStream {
        /// How much of the body is to come.
        enum Rest {
            /// So many bytes are not in the handled part of the input yet.
            case bytes(Int)
            /// It comes in chunks, which were read up to this index in the input.
            case chunks(readTo: Int)
        }

        var rest: Rest
        /// The index in the input from which the end of the next line is searched.
        var searchedTo: Int
        /// Whether the current line is too long, and is skipped up to its end.
        var isSkipping = false

        /// Notes that the first bytes of the input were dropped.
        mutating func drop(_ count: Int) {
            searchedTo -= count
            if case .chunks(let end) = rest { rest = .chunks(readTo: end - count) }
        }

        /// Notes that the next bytes of the body were handled.
        mutating func handled(_ count: Int) {
            if case .bytes(let remaining) = rest { rest = .bytes(remaining - count) }
        }
    }

    /// True if bytes of the lines' body are to come.
    var expectsLines: Bool {
        switch stream?.rest {
        case .bytes(let remaining): remaining > 0
        case .chunks: !chunks.isComplete && chunks.problem == nil
        case nil: false
        }
    }

    mutating func beginReadingLines(_ request: HTTPRequest, from bodyStart: Int) -> Event {
        beginBody(at: bodyStart)
        stream = LineStream(
            rest: request.isChunked ? .chunks(readTo: bodyStart) : .bytes(request.contentLength ?? 0),
            searchedTo: bodyStart
        )
        let keepsAlive = request.keepsAlive && !endsAfterNext
        if !keepsAlive { isReadingOver = true }
        waiting.append(Waiting(request, keepsAlive: keepsAlive))
        return .streamBegan(request, number: firstNumber)
    }

    mutating func nextLine() -> Event {
        guard var stream, !isPaused else { return .needsMore }
        if start > 262_144 || start == input.count {
            stream.drop(start)
            input.removeFirst(start)
            start = 0
        }
        let (end, isWhole) = readRest(&stream)
        defer { if self.stream != nil { self.stream = stream } }
        if isWhole, start == end {
            if stream.isSkipping {
                stream.isSkipping = false
                return .lineTooLong
            }
            self.stream = nil
            endOfRequest(at: start)
            return .streamEnded
        }
        if let found = input.span.firstIndex(of: 0x0A, in: stream.searchedTo..<end) {
            return line(&stream, start..<found, consumed: found + 1 - start)
        }
        if isWhole { return line(&stream, start..<end, consumed: end - start) }
        if case .chunks = stream.rest, let problem = chunks.problem {
            // The lines before it were handled, however they came.
            fail(problem)
            return .needsMore
        }
        stream.searchedTo = end
        if end - start > limits.bodyBytes {
            stream.isSkipping = true
            stream.handled(end - start)
            start = end
        }
        return .needsMore
    }

    /// Returns where the body ends in the input as far as it has come, and whether that is all of it.
    private mutating func readRest(_ stream: inout LineStream) -> (end: Int, isWhole: Bool) {
        switch stream.rest {
        case .bytes(let remaining):
            let end = min(input.count, start + remaining)
            return (end, end - start == remaining)
        case .chunks(let readTo):
            let end = chunks.read(&input, from: readTo, most: .max)
            stream.rest = .chunks(readTo: end)
            return (end, chunks.isComplete)
        }
    }

    private mutating func line(_ stream: inout LineStream, _ range: Range<Int>, consumed: Int) -> Event {
        stream.handled(consumed)
        start += consumed
        stream.searchedTo = start
        let isTooLong = stream.isSkipping || range.count > limits.bodyBytes
        stream.isSkipping = false
        if isTooLong { return .lineTooLong }
        let hasReturn = !range.isEmpty && input[range.upperBound - 1] == 0x0D
        return .line(hasReturn ? range.lowerBound..<range.upperBound - 1 : range)
    }

    /// Begins to answer a stream, before it is known how it ends.
    package mutating func beginStream(_ response: HTTPResponse) {
        guard let first = waiting.first else { return }
        waiting.removeFirst()
        firstNumber += 1
        writeContinue()
        let keepsAlive = first.keepsAlive && first.isVersion11
        streamAnswer = (first.isVersion11, keepsAlive)
        answered.append(response.status)
        response.writeStreamHead(
            to: &output,
            isChunked: first.isVersion11,
            connection: keepsAlive ? .stays : .closes,
            date: date
        )
    }

    /// Adds to the answer to a stream; ``prepareOutput()`` makes them a part of the output.
    ///
    /// Does nothing if the answer was cut short in the meantime.
    package mutating func stream(_ bytes: [UInt8]) {
        if streamAnswer != nil { streamed += bytes }
    }

    /// Stops reading lines; those that were handed over are still answered.
    package mutating func stopStream() {
        guard stream != nil else { return }
        stream = nil
        start = input.count
        isReadingOver = true
    }

    /// Ends an incomplete answer without its last chunk, so that the client does not take it for a whole one.
    package mutating func cutStream() {
        flushStreamed()
        streamAnswer = nil
        isReadingOver = true
    }

    /// Ends the answer to the stream, which is complete.
    package mutating func endStream() {
        guard let answer = streamAnswer else { return }
        flushStreamed()
        if answer.isChunked { output.append("0\r\n\r\n") }
        streamAnswer = nil
        if !answer.keepsAlive { isReadingOver = true }
    }

    /// Wraps what has been streamed since the last call into one chunk (RFC 9112, 7.1).
    mutating func flushStreamed() {
        guard !streamed.isEmpty, let answer = streamAnswer else { return }
        if answer.isChunked { output.append(contentsOf: "\(String(streamed.count, radix: 16))\r\n".utf8) }
        output += streamed
        if answer.isChunked { output.append("\r\n") }
        streamed.removeAll(keepingCapacity: true)
    }
}
