/// One HTTP/1.1 connection of a server, without its socket: bytes in, requests out; answers in, bytes out, in order.
///
/// The owner appends what it receives to ``input``, calls ``next()`` until it is told that more is needed, answers each
/// request by its number, in whatever order it comes to know the answers, and sends ``output``. Everything is bounded:
/// the head, the body, and the requests that wait for their answers.
package struct HTTPExchange {
    package struct Limits: Equatable, Sendable {
        package var headBytes = 16384
        package var bodyBytes: Int
        /// Requests that may wait for their answers; more are read when some are answered.
        package var pipelined = 64
        /// Bodies of lines are read while they come; a line may have ``bodyBytes``.
        package var takesStreams: Bool

        package init(bodyBytes: Int, takesStreams: Bool = false) {
            self.bodyBytes = bodyBytes
            self.takesStreams = takesStreams
        }
    }

    package enum Event: Equatable, Sendable {
        /// A whole request. Its body is `input[body]` until the next call of ``next()``.
        case request(HTTPRequest, number: Int, body: Range<Int>)
        /// The head of a request whose body comes as lines: ``line(_:)``s and then ``streamEnded``.
        ///
        /// Answer it by ``beginStream(_:)``, ``stream(_:)`` and ``endStream()``, or refuse it by ``respond(to:_:)``.
        case streamBegan(HTTPRequest, number: Int)
        /// A line of the body, without its end; it is `input[range]` until the next call of ``next()``.
        case line(Range<Int>)
        /// A line that is longer than a body may be; it was skipped.
        case lineTooLong
        case streamEnded
        /// Nothing more without more bytes, or before answers.
        case needsMore
    }

    private struct Waiting {
        let isHead: Bool
        let keepsAlive: Bool
        var isVersion11 = true
        var response: HTTPResponse?
    }

    /// What was received; the owner appends.
    package var input: [UInt8] = []
    /// What must be sent; the owner takes it by ``takeOutput()``.
    package private(set) var output: [UInt8] = []

    private let limits: Limits
    private var start = 0
    private var searchedTo = 0
    private var head: (request: HTTPRequest, end: Int)?
    private var waiting: [Waiting] = []
    private var firstNumber = 0
    private var isReadingOver = false
    private var stream: LineStream?
    /// The answer to a stream that has begun.
    private var streamAnswer: (isChunked: Bool, keepsAlive: Bool)?
    private var streamed: [UInt8] = []
    /// The owner takes no further lines now.
    package var isPaused = false

    package init(limits: Limits) {
        self.limits = limits
    }

    /// True until the last request that will be read: the owner may receive more.
    package var wantsInput: Bool {
        let have = input.count - start
        if let stream { return !stream.isComplete && !isPaused && have < limits.bodyBytes + 65536 }
        return !isReadingOver && streamAnswer == nil && waiting.count < limits.pipelined
            && input.count - start < limits.headBytes + limits.bodyBytes
    }

    /// True while a request is half received: a peer that leaves now loses it.
    package var isMidRequest: Bool { input.count > start || head != nil || stream != nil }

    /// True while answers are owed.
    package var isWaiting: Bool { !waiting.isEmpty || (streamAnswer != nil && (stream == nil || isPaused)) }

    /// True when everything is answered and nothing more will be: close the connection once ``output`` is sent.
    package var isOver: Bool { isReadingOver && waiting.isEmpty && streamAnswer == nil }

    /// True while the lines of a body come in.
    package var isStreaming: Bool { stream != nil }

    /// Requests that wait for their answers.
    package var waitingCount: Int { waiting.count }

    /// True where something must be sent.
    package var hasOutput: Bool { outputCount > 0 }

    /// Bytes that must be sent.
    package var outputCount: Int { output.count + streamed.count }

    /// The bytes behind the head that was read last: what a client sent early after an upgrade request.
    package var remainder: ArraySlice<UInt8> { input[start...] }

    /// The next request.
    ///
    /// Malformed input is answered here, and ends the connection.
    package mutating func next() -> Event {
        if stream != nil { return nextLine() }
        guard streamAnswer == nil else { return .needsMore }
        dropConsumed()
        guard !isReadingOver, waiting.count < limits.pipelined else { return .needsMore }
        do throws(HTTPProblem) {
            guard let (request, bodyStart) = try readHead() else { return .needsMore }
            let length = request.contentLength ?? 0
            if limits.takesStreams, APICall.isStream(request), request.contentLength != nil {
                // What was asked before is answered first, so that answers need not wait for each other.
                guard waiting.isEmpty else { return .needsMore }
                return beginReadingLines(request, bodyStart, length)
            }
            guard length <= limits.bodyBytes else { throw .bodyTooLarge(limit: limits.bodyBytes) }
            guard input.count - bodyStart >= length else {
                reserve(length)
                return .needsMore
            }
            head = nil
            start = bodyStart + length
            searchedTo = start
            let keepsAlive = request.keepsAlive && !endsAfterNext
            if !keepsAlive { isReadingOver = true }
            waiting.append(Waiting(isHead: request.method == "HEAD", keepsAlive: keepsAlive))
            return .request(request, number: firstNumber + waiting.count - 1, body: bodyStart..<start)
        } catch {
            fail(error)
            return .needsMore
        }
    }

    /// Answers a request.
    ///
    /// One for a stream that has not begun to be answered refuses it, and ends the connection, as its body is not read.
    package mutating func respond(to number: Int, _ response: HTTPResponse) {
        var response = response
        if stream != nil {
            response.closes = true
            stream = nil
            start = input.count
            isReadingOver = true
        }
        let index = number - firstNumber
        guard waiting.indices.contains(index), waiting[index].response == nil else { return }
        waiting[index].response = response
        flushAnswers()
    }

    /// Answers, after the requests before it, something that is no request, and ends the connection.
    package mutating func fail(_ problem: HTTPProblem) {
        isReadingOver = true
        stream = nil
        if streamAnswer != nil {
            // An answer that is under way can only be cut short, so that nobody takes it for a whole one.
            streamAnswer = nil
            streamed = []
            return
        }
        start = input.count
        head = nil
        waiting.append(Waiting(isHead: false, keepsAlive: false, response: problem.response))
        flushAnswers()
    }

    /// The next request is the connection's last: its answer says so.
    package var endsAfterNext = false

    /// No further request will be read; what is owed is still answered.
    package mutating func stopReading() {
        isReadingOver = true
    }

    /// Takes what must be sent.
    package mutating func takeOutput() -> [UInt8] {
        flushStreamed()
        defer { output = [] }
        return output
    }

    private mutating func readHead() throws(HTTPProblem) -> (HTTPRequest, Int)? {
        if let head { return head }
        // Blank lines before a request are skipped (RFC 9112, 2.2).
        while input.count - start >= 2, input[start] == 0x0D, input[start + 1] == 0x0A { start += 2 }
        guard let end = HTTPHeadParser.endOfHead(input, from: start, searchedTo: searchedTo) else {
            searchedTo = input.count
            if input.count - start > limits.headBytes { throw .headTooLarge }
            return nil
        }
        guard end - start <= limits.headBytes else { throw .headTooLarge }
        let request = try HTTPHeadParser.request(input[start..<end])
        let isTaken =
            request.contentLength ?? 0 <= limits.bodyBytes || (limits.takesStreams && APICall.isStream(request))
        if request.expectsContinue, isTaken, waiting.isEmpty {
            output.append(contentsOf: "HTTP/1.1 100 Continue\r\n\r\n".utf8)
        }
        head = (request, end)
        return (request, end)
    }

    /// Makes room for a body as it comes, doubling, so that it is copied a few times and not at each piece.
    private mutating func reserve(_ length: Int) {
        guard input.capacity < input.count + 16384 else { return }
        let whole = start + limits.headBytes + length
        input.reserveCapacity(min(whole, max(2 * input.capacity, input.count + 262_144)))
    }

    private mutating func dropConsumed() {
        guard start > 0, head == nil else { return }
        if start == input.count {
            input.removeAll(keepingCapacity: input.capacity <= 65536)
        } else {
            input.removeFirst(start)
        }
        start = 0
        searchedTo = 0
    }

    private mutating func flushAnswers() {
        var done = 0
        while done < waiting.count, let response = waiting[done].response {
            let keepsAlive = waiting[done].keepsAlive && !response.closes
            response.write(to: &output, isHead: waiting[done].isHead, keepsAlive: keepsAlive)
            done += 1
            if !keepsAlive {
                isReadingOver = true
                firstNumber += waiting.count
                waiting.removeAll()
                return
            }
        }
        waiting.removeFirst(done)
        firstNumber += done
    }
}

// MARK: - Streams

extension HTTPExchange {
    /// Where the reading of a body of lines is.
    private struct LineStream {
        /// Bytes of the body that are not in the input's handled part yet.
        var remaining: Int
        /// From where the next line's end is searched, as an index into the input.
        var searchedTo: Int
        /// The present line is too long and is skipped up to its end.
        var isSkipping = false

        var isComplete: Bool { remaining == 0 }
    }

    private mutating func beginReadingLines(_ request: HTTPRequest, _ bodyStart: Int, _ length: Int) -> Event {
        head = nil
        start = bodyStart
        stream = LineStream(remaining: length, searchedTo: bodyStart)
        let keepsAlive = request.keepsAlive && !endsAfterNext
        if !keepsAlive { isReadingOver = true }
        waiting.append(Waiting(isHead: false, keepsAlive: keepsAlive, isVersion11: request.isVersion11))
        return .streamBegan(request, number: firstNumber)
    }

    private mutating func nextLine() -> Event {
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
            searchedTo = start
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
        streamAnswer = (first.isVersion11, first.keepsAlive && first.isVersion11)
        response.writeStreamHead(to: &output, isChunked: first.isVersion11, keepsAlive: first.keepsAlive)
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
    private mutating func flushStreamed() {
        guard !streamed.isEmpty, let answer = streamAnswer else { return }
        if answer.isChunked { output.append(contentsOf: "\(String(streamed.count, radix: 16))\r\n".utf8) }
        output += streamed
        if answer.isChunked { output.append(contentsOf: "\r\n".utf8) }
        streamed.removeAll(keepingCapacity: true)
    }
}
