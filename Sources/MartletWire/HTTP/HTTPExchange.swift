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
        /// The head of a request whose body, so many bytes, is still to come; the whole request follows under the same
        /// number.
        ///
        /// Nothing is taken of the body before the next call of ``next()``: refuse it by ``respond(to:_:)``, which ends the
        /// connection.
        case bodyAnnounced(HTTPRequest, number: Int, byteCount: Int)
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

    struct Waiting {
        let isHead: Bool
        var keepsAlive: Bool
        var isVersion11 = true
        var response: HTTPResponse?

        init(_ request: HTTPRequest, keepsAlive: Bool) {
            isHead = request.method == "HEAD"
            self.keepsAlive = keepsAlive
            isVersion11 = request.isVersion11
        }

        /// For what is no request.
        init(_ problem: HTTPProblem) {
            isHead = false
            keepsAlive = false
            response = problem.response
        }

        func connection(_ keepsAlive: Bool) -> HTTPResponse.Connection {
            keepsAlive ? isVersion11 ? .stays : .staysAsAsked : .closes
        }
    }

    /// How far the request that is being received has come.
    private enum Arrival {
        /// Its head is not complete.
        case head
        /// Its body is not complete, and was not announced.
        case body(HTTPRequest, from: Int)
        /// Its body is not complete; it waits for its answer already, as the last one.
        case announcedBody(HTTPRequest, from: Int)

        var isHead: Bool { if case .head = self { true } else { false } }
        var isAnnounced: Bool { if case .announcedBody = self { true } else { false } }
    }

    /// What was received; the owner appends.
    package var input: [UInt8] = []
    /// Statuses of answers, to be counted.
    var answered: [Int] = []
    /// What must be sent; the owner takes it by ``takeOutput()``.
    package internal(set) var output: [UInt8] = []

    /// What answers say of the time; the owner sets it before it calls anything that may answer.
    package var date: HTTPDate?

    let limits: Limits
    var start = 0
    var searchedTo = 0
    private var arrival = Arrival.head
    /// The client waits for our word before it sends its body.
    private var owesContinue = false
    /// Bytes of blank lines before the request.
    private var blankBytes = 0
    var waiting: [Waiting] = []
    var firstNumber = 0
    var isReadingOver = false
    var stream: LineStream?
    /// The answer to a stream that has begun.
    var streamAnswer: (isChunked: Bool, keepsAlive: Bool)?
    var streamed: [UInt8] = []
    /// The owner takes no further lines now.
    package var isPaused = false

    package init(limits: Limits) {
        self.limits = limits
    }

    /// True until the last request that will be read: the owner may receive more.
    package var wantsInput: Bool {
        let have = input.count - start
        if let stream { return !stream.isComplete && !isPaused && have < limits.bodyBytes + 65536 }
        // A body that waits for what was asked before it was not announced yet: nothing is taken of it.
        if case .body = arrival, have >= limits.headBytes { return false }
        return !isReadingOver && streamAnswer == nil && waitingCount < limits.pipelined
            && input.count - start < limits.headBytes + limits.bodyBytes
    }

    /// True while a request is half received: a peer that leaves now loses it.
    package var isMidRequest: Bool { input.count > start || !arrival.isHead || stream != nil }

    /// True while the body of a request that was announced comes in, or lines do.
    package var isReceivingBody: Bool { arrival.isAnnounced || stream != nil }

    /// True while answers are owed.
    package var isWaiting: Bool { waitingCount > 0 || (streamAnswer != nil && (stream == nil || isPaused)) }

    /// True when everything is answered and nothing more will be: close the connection once ``output`` is sent.
    package var isOver: Bool { isReadingOver && waiting.isEmpty && streamAnswer == nil }

    /// True while the lines of a body come in.
    package var isStreaming: Bool { stream != nil }

    /// Whole requests that wait for their answers.
    package var waitingCount: Int { waiting.count - (arrival.isAnnounced ? 1 : 0) }

    /// True where something must be sent.
    package var hasOutput: Bool { outputCount > 0 }

    /// Bytes that must be sent.
    package var outputCount: Int { output.count + streamed.count }

    /// Bytes that were received and not handled yet.
    package var unhandledCount: Int { input.count - start }

    /// The bytes behind the head that was read last: what a client sent early after an upgrade request.
    package var remainder: ArraySlice<UInt8> { input[start...] }

    /// The next request.
    ///
    /// Malformed input is answered here, and ends the connection.
    package mutating func next() -> Event {
        if stream != nil { return nextLine() }
        guard streamAnswer == nil else { return .needsMore }
        dropConsumed()
        guard !isReadingOver, waitingCount < limits.pipelined else { return .needsMore }
        do throws(HTTPProblem) {
            guard let (request, bodyStart) = try readHead() else { return .needsMore }
            if limits.takesStreams, APICall.isStream(request), let length = request.contentLength {
                // What was asked before is answered first, so that answers need not wait for each other.
                guard waiting.isEmpty else { return .needsMore }
                return beginReadingLines(request, bodyStart, length)
            }
            return try readBody(request, bodyStart)
        } catch {
            fail(error)
            return .needsMore
        }
    }

    private mutating func readBody(_ request: HTTPRequest, _ bodyStart: Int) throws(HTTPProblem) -> Event {
        let length = request.contentLength ?? 0
        guard length <= limits.bodyBytes else { throw .bodyTooLarge(limit: limits.bodyBytes) }
        guard input.count - bodyStart >= length else {
            guard arrival.isAnnounced else {
                arrival = .announcedBody(request, from: bodyStart)
                waiting.append(Waiting(request, keepsAlive: request.keepsAlive))
                return .bodyAnnounced(request, number: firstNumber + waiting.count - 1, byteCount: length)
            }
            writeContinue()
            reserve(length, from: bodyStart)
            return .needsMore
        }
        if arrival.isAnnounced { waiting.removeLast() }
        endOfRequest(at: bodyStart + length)
        let keepsAlive = request.keepsAlive && !endsAfterNext
        if !keepsAlive { isReadingOver = true }
        waiting.append(Waiting(request, keepsAlive: keepsAlive))
        return .request(request, number: firstNumber + waiting.count - 1, body: bodyStart..<start)
    }

    /// What follows in the input is a body that is taken as it comes.
    mutating func beginBody(at bodyStart: Int) {
        arrival = .head
        start = bodyStart
    }

    /// What follows in the input belongs to the next request.
    mutating func endOfRequest(at end: Int) {
        arrival = .head
        owesContinue = false
        blankBytes = 0
        start = end
        searchedTo = end
    }

    /// Answers a request.
    ///
    /// One whose body is still to come is refused so, and so is a stream that has not begun to be answered; that ends the
    /// connection, as the body is not read.
    package mutating func respond(to number: Int, _ response: HTTPResponse) {
        var response = response
        let index = number - firstNumber
        guard waiting.indices.contains(index), waiting[index].response == nil else { return }
        if stream != nil || (arrival.isAnnounced && index == waiting.count - 1) {
            response.closes = true
            stream = nil
            endOfRequest(at: input.count)
            isReadingOver = true
        }
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
        if arrival.isAnnounced { waiting.removeLast() }
        endOfRequest(at: input.count)
        waiting.append(Waiting(problem))
        flushAnswers()
    }

    /// The next request is the connection's last: its answer says so.
    package var endsAfterNext = false

    /// No further request will be read; what is owed is still answered.
    package mutating func stopReading() {
        isReadingOver = true
        guard arrival.isAnnounced else { return }
        waiting.removeLast()
        arrival = .head
    }

    /// Takes the statuses of what was answered since this was asked.
    package mutating func takeAnswered(_ body: (Int) -> Void) {
        for status in answered { body(status) }
        answered.removeAll(keepingCapacity: true)
    }

    /// Takes what must be sent.
    package mutating func takeOutput() -> [UInt8] {
        flushStreamed()
        defer { output = [] }
        return output
    }

    private mutating func readHead() throws(HTTPProblem) -> (HTTPRequest, Int)? {
        switch arrival {
        case .body(let request, let end), .announcedBody(let request, let end): return (request, end)
        case .head: break
        }
        try skipBlankLines()
        guard let end = HTTPHeadParser.endOfHead(input, from: start, searchedTo: searchedTo) else {
            searchedTo = input.count
            if input.count - start >= limits.headBytes { throw .headTooLarge }
            return nil
        }
        guard end - start <= limits.headBytes else { throw .headTooLarge }
        let request = try HTTPHeadParser.request(input[start..<end])
        arrival = .body(request, from: end)
        owesContinue = request.expectsContinue && request.isVersion11
        return (request, end)
    }

    /// A few blank lines before a request are skipped (RFC 9112, 2.2).
    private mutating func skipBlankLines() throws(HTTPProblem) {
        while input.count - start >= 2, input[start] == 0x0D, input[start + 1] == 0x0A {
            start += 2
            blankBytes += 2
            if blankBytes > 8 { throw .badRequest("blank lines instead of a request") }
        }
    }

    /// Tells a client that waits for it to send its body, once nothing before it is owed.
    mutating func writeContinue() {
        guard owesContinue, waitingCount == 0 else { return }
        owesContinue = false
        output.append(contentsOf: "HTTP/1.1 100 Continue\r\n\r\n".utf8)
    }

    /// Makes room for a body as it comes, doubling, so that it is copied a few times and not at each piece.
    private mutating func reserve(_ length: Int, from bodyStart: Int) {
        guard input.capacity < input.count + 16384 else { return }
        let whole = bodyStart + length
        input.reserveCapacity(max(input.count, min(whole, max(2 * input.capacity, input.count + 262_144))))
    }

    private mutating func dropConsumed() {
        guard start > 0, arrival.isHead else { return }
        if start == input.count {
            input.removeAll(keepingCapacity: input.capacity <= 65536)
        } else if start > 65536 || start > input.count / 2 {
            // Not after each of many small requests: the rest would be moved again and again.
            input.removeFirst(start)
        } else {
            return
        }
        searchedTo = max(0, searchedTo - start)
        start = 0
    }

    private mutating func flushAnswers() {
        var done = 0
        while done < waiting.count, let response = waiting[done].response {
            let keepsAlive = waiting[done].keepsAlive && !response.closes
            let connection = waiting[done].connection(keepsAlive)
            response.write(to: &output, isHead: waiting[done].isHead, connection: connection, date: date)
            answered.append(response.status)
            done += 1
            if !keepsAlive {
                isReadingOver = true
                firstNumber += waiting.count
                waiting.removeAll()
                arrival = .head
                return
            }
        }
        waiting.removeFirst(done)
        firstNumber += done
        // What was owed before a body that was announced is written now.
        if arrival.isAnnounced { writeContinue() }
    }
}
