// Bodies of lines, which are read while they come and answered meanwhile.

extension HTTPExchange {
    /// Where the reading of a body of lines is.
    struct LineStream {
        /// Bytes of the body that are not in the input's handled part yet.
        var remaining: Int
        /// From where the next line's end is searched, as an index into the input.
        var searchedTo: Int
        /// The present line is too long and is skipped up to its end.
        var isSkipping = false

        var isComplete: Bool { remaining == 0 }
    }

    mutating func beginReadingLines(_ request: HTTPRequest, _ bodyStart: Int, _ length: Int) -> Event {
        beginBody(at: bodyStart)
        stream = LineStream(remaining: length, searchedTo: bodyStart)
        let keepsAlive = request.keepsAlive && !endsAfterNext
        if !keepsAlive { isReadingOver = true }
        waiting.append(Waiting(request, keepsAlive: keepsAlive))
        return .streamBegan(request, number: firstNumber)
    }

    mutating func nextLine() -> Event {
        guard var stream, !isPaused else { return .needsMore }
        if start > 262_144 || start == input.count {
            stream.searchedTo -= start
            input.removeFirst(start)
            start = 0
        }
        defer { if self.stream != nil { self.stream = stream } }
        if stream.remaining == 0 {
            if stream.isSkipping {
                stream.isSkipping = false
                return .lineTooLong
            }
            self.stream = nil
            endOfRequest(at: start)
            return .streamEnded
        }
        let end = min(input.count, start + stream.remaining)
        let found = unsafe input.withUnsafeBufferPointer { buffer in
            unsafe buffer[stream.searchedTo..<end].firstIndex(of: 0x0A)
        }
        if let found { return line(&stream, start..<found, consumed: found + 1 - start) }
        if end - start == stream.remaining { return line(&stream, start..<end, consumed: end - start) }
        stream.searchedTo = end
        if end - start > limits.bodyBytes {
            stream.isSkipping = true
            stream.remaining -= end - start
            start = end
        }
        return .needsMore
    }

    private mutating func line(_ stream: inout LineStream, _ range: Range<Int>, consumed: Int) -> Event {
        stream.remaining -= consumed
        start += consumed
        stream.searchedTo = start
        let isTooLong = stream.isSkipping || range.count > limits.bodyBytes
        stream.isSkipping = false
        if isTooLong { return .lineTooLong }
        let hasReturn = !range.isEmpty && input[range.upperBound - 1] == 0x0D
        return .line(hasReturn ? range.lowerBound..<range.upperBound - 1 : range)
    }

    /// Begins to answer a stream, before anything is known of its end.
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

    /// More of the answer to a stream; it leaves with ``takeOutput()``.
    ///
    /// Nothing, where the answer was cut short meanwhile.
    package mutating func stream(_ bytes: [UInt8]) {
        if streamAnswer != nil { streamed += bytes }
    }

    /// No further line is handed over; what was is still answered.
    package mutating func stopStream() {
        guard stream != nil else { return }
        stream = nil
        start = input.count
        isReadingOver = true
    }

    /// Ends an answer that is not whole, so that nobody takes it for one: without its last chunk.
    package mutating func cutStream() {
        flushStreamed()
        streamAnswer = nil
        isReadingOver = true
    }

    /// The answer to the stream is complete.
    package mutating func endStream() {
        guard let answer = streamAnswer else { return }
        flushStreamed()
        if answer.isChunked { output.append(contentsOf: "0\r\n\r\n".utf8) }
        streamAnswer = nil
        if !answer.keepsAlive { isReadingOver = true }
    }

    /// Wraps what was streamed since into one chunk (RFC 9112, 7.1).
    mutating func flushStreamed() {
        guard !streamed.isEmpty, let answer = streamAnswer else { return }
        if answer.isChunked { output.append(contentsOf: "\(String(streamed.count, radix: 16))\r\n".utf8) }
        output += streamed
        if answer.isChunked { output.append(contentsOf: "\r\n".utf8) }
        streamed.removeAll(keepingCapacity: true)
    }
}
