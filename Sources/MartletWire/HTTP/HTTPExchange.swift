// SPDX-License-Identifier: Apache-2.0

/// One HTTP/1.1 connection of a server, without its socket: bytes in, requests out; answers in, bytes out, in order.
///
/// The owner appends what it receives to ``input``, calls ``next()`` until it is told that more is needed, answers each
/// request by its number, in any order, and sends ``output``. Everything is bounded: the head, the body, and the
/// requests that wait for their answers.
package struct HTTPExchange: ~Copyable {
    package struct Limits: Equatable, Sendable {
        package var bodyBytes: Int
        /// How many requests may wait for their answers; more are read when some are answered.
        package var pipelined = 64
        /// Whether bodies of lines are read as they arrive; a line may have ``bodyBytes``.
        package var takesStreams: Bool
        /// The path to which clients post that read server-sent events (``EventStream``); nil: nobody does that here.
        package var postPath: String?
        /// The most bytes of what they post at a time.
        package var postBytes: Int

        package init(bodyBytes: Int, takesStreams: Bool = false, postPath: String? = nil, postBytes: Int = 0) {
            self.bodyBytes = bodyBytes
            self.takesStreams = takesStreams
            self.postPath = postPath
            self.postBytes = postBytes
        }

        /// The most bytes that the body of a request may have.
        func mostBytes(of request: HTTPRequest) -> Int { isPost(request) ? postBytes : bodyBytes }

        /// The problem of a request with a larger body; a page of another origin may read it if it has posted this.
        func bodyTooLarge(_ request: HTTPRequest) -> HTTPProblem {
            let problem = HTTPProblem.bodyTooLarge(limit: mostBytes(of: request))
            return isPost(request) ? problem.readableByPages : problem
        }

        private func isPost(_ request: HTTPRequest) -> Bool {
            postPath.map { request.method == .post && request.hasPath(text: $0) } ?? false
        }
    }

    package enum Event: Sendable {
        /// The head of a request whose body is still to come; the whole request follows under the same number.
        ///
        /// Nothing of the body is read before the next call of ``next()``: to refuse it, call ``respond(to:_:)``, which
        /// ends the connection.
        ///
        /// `byteCount` is the length of the body; nil: it comes in chunks.
        case bodyAnnounced(HTTPRequest, number: Int, byteCount: Int?)
        /// A whole request. Its body is `input[body]` until the next call of ``next()``.
        case request(HTTPRequest, number: Int, body: Range<Int>)
        /// The head of a request whose body arrives as lines: as several ``line(_:)`` and then ``streamEnded``.
        ///
        /// Answer it with ``beginStream(_:)``, ``stream(_:)`` and ``endStream()``, or refuse it with
        /// ``respond(to:_:)``.
        case streamBegan(HTTPRequest, number: Int)
        /// A line of the body, without its end; it is `input[range]` until the next call of ``next()``.
        case line(Range<Int>)
        /// A line that was skipped because it is longer than a body may be.
        case lineTooLong
        case streamEnded
        /// Nothing can be read without more bytes, or before some requests are answered.
        case needsMore
    }

    struct Waiting {
        let isHead: Bool
        var keepsAlive: Bool
        var isVersion11 = true
        var response: HTTPResponse?

        init(_ request: HTTPRequest, keepsAlive: Bool) {
            isHead = request.method == .head
            self.keepsAlive = keepsAlive
            isVersion11 = request.isVersion11
        }

        /// Makes the answer to something that is not a request.
        init(_ problem: HTTPProblem) {
            isHead = false
            keepsAlive = false
            response = problem.response
        }

        func connection(_ keepsAlive: Bool) -> HTTPResponse.Connection {
            keepsAlive ? isVersion11 ? .stays : .staysAsAsked : .closes
        }
    }

    /// How much of a body has come.
    struct Body {
        let request: HTTPRequest
        let start: Int
        /// Where it ends; of a body in chunks, how far these were read (``chunks``).
        var end: Int

        init(_ request: HTTPRequest) {
            self.request = request
            start = request.end
            end = start + (request.contentLength ?? 0)
        }

        /// Makes the same body of a request that has its own copy of the head.
        func detached() -> Body { Body(self, request: request.detached()) }

        private init(_ other: Body, request: HTTPRequest) {
            self.request = request
            start = other.start
            end = other.end
        }
    }

    /// How far the request that is being received has come.
    enum Arrival {
        /// Its head is not complete.
        case head
        /// Its body is not complete, and was not announced.
        case body(Body)
        /// Its body is not complete, but was announced: the request already waits for its answer, as the last one.
        case announcedBody(Body)

        var isHead: Bool { if case .head = self { true } else { false } }
        var isAnnounced: Bool { if case .announcedBody = self { true } else { false } }

        var body: Body? {
            switch self {
            case .head: nil
            case .body(let body), .announcedBody(let body): body
            }
        }
    }

    /// The received bytes, which the owner appends.
    package var input: [UInt8] = []
    /// The statuses of answers, to be counted.
    var answered: [Int] = []
    /// The bytes that must be sent, after ``prepareOutput()``; those before ``outputStart`` were sent.
    package internal(set) var output: [UInt8] = []
    package internal(set) var outputStart = 0

    /// The date in answers, which the owner sets before it calls anything that may answer.
    package var date: HTTPDate?

    let limits: Limits
    var start = 0
    var searchedTo = 0
    var arrival = Arrival.head
    /// The reader of the chunks of the body that is being received.
    var chunks = ChunkReader()
    /// Whether the client waits for `100 Continue` before it sends its body.
    private var owesContinue = false
    /// How many bytes of blank lines came before the request.
    private var blankBytes = 0
    var waiting: [Waiting] = []
    var firstNumber = 0
    var isReadingOver = false
    var stream: LineStream?
    /// The answer to a stream that has begun.
    var streamAnswer: (isChunked: Bool, keepsAlive: Bool)?
    var streamed: [UInt8] = []
    /// Whether the owner accepts no further lines at the moment.
    package var isPaused = false

    package init(limits: Limits) {
        self.limits = limits
    }

    /// True while the owner may receive more bytes.
    package var wantsInput: Bool {
        let have = input.count - start
        if stream != nil { return expectsLines && !isPaused && have < limits.bodyBytes + 65536 }
        // A body whose request must wait for earlier requests was not announced yet: nothing of it is read.
        if case .body = arrival, have >= HTTPHead.mostBytes { return false }
        return !isReadingOver && streamAnswer == nil && waitingCount < limits.pipelined
            && input.count - start < HTTPHead.mostBytes + max(limits.bodyBytes, limits.postBytes)
                + (isOpenEnded ? HTTPHead.mostBytes : 0)
    }

    /// True while a request is partly received: a peer that leaves now loses it.
    package var isMidRequest: Bool { input.count > start || !arrival.isHead || stream != nil }

    /// True while the body of an announced request is received, or lines are.
    package var isReceivingBody: Bool { arrival.isAnnounced || stream != nil }

    /// True while requests wait for answers.
    package var isWaiting: Bool { waitingCount > 0 || (streamAnswer != nil && (stream == nil || isPaused)) }

    /// True when everything is answered and no more requests are read: close the connection once ``output`` is sent.
    package var isOver: Bool { isReadingOver && waiting.isEmpty && streamAnswer == nil }

    /// True while the lines of a body are received.
    package var isStreaming: Bool { stream != nil }

    /// True while a body is received whose length is not known.
    package var isOpenEnded: Bool { stream != nil || (arrival.isAnnounced && arrival.body?.request.isChunked == true) }

    /// How many whole requests wait for their answers.
    package var waitingCount: Int { waiting.count - (arrival.isAnnounced ? 1 : 0) }

    /// True if something must be sent.
    package var hasOutput: Bool { outputCount > 0 }

    /// How many bytes must be sent.
    package var outputCount: Int { output.count - outputStart + streamed.count }

    /// How many bytes were received and are not handled yet.
    package var unhandledCount: Int { input.count - start }

    /// The bytes after the head that was read last: what a client has already sent after an upgrade request.
    package var remainder: ArraySlice<UInt8> { input[start...] }

    /// Reads the next request.
    ///
    /// Malformed input is answered here, and ends the connection.
    package mutating func next() -> Event {
        if stream != nil { return nextLine() }
        guard streamAnswer == nil else { return .needsMore }
        dropConsumed()
        guard !isReadingOver, waitingCount < limits.pipelined else { return .needsMore }
        do throws(HTTPProblem) {
            guard let body = try arrivingBody() else { return .needsMore }
            let request = body.request
            if limits.takesStreams, APICall.isStream(request), request.isChunked || request.contentLength != nil {
                // Earlier requests are answered first, so that answers need not wait for each other.
                guard waiting.isEmpty else {
                    if arrival.isHead { arrival = .body(body.detached()) }
                    return .needsMore
                }
                return beginReadingLines(request, from: body.start)
            }
            return try readBody(body)
        } catch {
            fail(error)
            return .needsMore
        }
    }

    private mutating func readBody(_ body: Body) throws(HTTPProblem) -> Event {
        var body = body
        guard body.end - body.start <= limits.mostBytes(of: body.request) else {
            throw limits.bodyTooLarge(body.request)
        }
        let isWhole = try readChunks(&body) ?? (input.count >= body.end)
        guard isWhole else {
            // The input grows under a request that is kept.
            if arrival.isHead { body = body.detached() }
            return awaitBody(body)
        }
        let request = body.request
        if arrival.isAnnounced { waiting.removeLast() }
        endOfRequest(at: body.end)
        let keepsAlive = request.keepsAlive && !endsAfterNext
        if !keepsAlive { isReadingOver = true }
        waiting.append(Waiting(request, keepsAlive: keepsAlive))
        return .request(request, number: firstNumber + waiting.count - 1, body: body.start..<body.end)
    }

    /// Takes what has come of a body out of its chunks; returns whether it is complete, or nil if it has a length.
    private mutating func readChunks(_ body: inout Body) throws(HTTPProblem) -> Bool? {
        guard body.request.isChunked else { return nil }
        body.end = chunks.read(&input, from: body.end, most: limits.mostBytes(of: body.request))
        if let problem = chunks.problem { throw problem.status == 413 ? limits.bodyTooLarge(body.request) : problem }
        return chunks.isComplete
    }

    private mutating func awaitBody(_ body: Body) -> Event {
        let request = body.request
        let wasAnnounced = arrival.isAnnounced
        arrival = .announcedBody(body)
        guard wasAnnounced else {
            waiting.append(Waiting(request, keepsAlive: request.keepsAlive))
            return .bodyAnnounced(
                request,
                number: firstNumber + waiting.count - 1,
                byteCount: request.contentLength
            )
        }
        writeContinue()
        if let length = request.contentLength { reserve(length, from: body.start) }
        return .needsMore
    }

    /// Notes that what follows in the input is a body that is read as it arrives.
    mutating func beginBody(at bodyStart: Int) {
        arrival = .head
        start = bodyStart
    }

    /// Notes that what follows in the input belongs to the next request.
    mutating func endOfRequest(at end: Int) {
        arrival = .head
        owesContinue = false
        blankBytes = 0
        start = end
        searchedTo = end
    }

    /// Whether the next request is the last one of the connection, as its answer then says.
    package var endsAfterNext = false

    /// Stops reading requests; those that wait are still answered.
    package mutating func stopReading() {
        isReadingOver = true
        guard arrival.isAnnounced else { return }
        waiting.removeLast()
        arrival = .head
    }

    /// Returns the body of the request that is being received; nil if the head is not complete.
    private mutating func arrivingBody() throws(HTTPProblem) -> Body? {
        if let body = arrival.body { return body }
        try skipBlankLines()
        // A head that comes in pieces is read when its end has come, so that a slow peer does not have it read each time.
        if searchedTo > start, input.count - start < HTTPHead.mostBytes,
            !HTTPHead.hasEnd(input, from: start, searchedTo: searchedTo)
        {
            searchedTo = input.count
            return nil
        }
        // A carriage return alone may be half of a blank line.
        let isHalfBlank = input.count == start + 1 && input[start] == 0x0D
        guard input.count > start, !isHalfBlank, let request = try HTTPRequest(in: input, from: start) else {
            searchedTo = input.count
            return nil
        }
        if request.isChunked {
            // Otherwise it would matter whether the end of an empty body comes together with the head.
            if limits.mostBytes(of: request) == 0 { throw limits.bodyTooLarge(request) }
            chunks = ChunkReader()
        }
        owesContinue = request.expectsContinue && request.isVersion11
        return Body(request)
    }

    /// Skips a few blank lines before a request (RFC 9112, 2.2).
    private mutating func skipBlankLines() throws(HTTPProblem) {
        while input.count - start >= 2, input[start] == 0x0D, input[start + 1] == 0x0A {
            start += 2
            blankBytes += 2
            if blankBytes > 8 { throw .badRequest("blank lines instead of a request") }
        }
    }

    /// Tells a client that waits for it to send its body, once no earlier answers are outstanding.
    mutating func writeContinue() {
        guard owesContinue, waitingCount == 0 else { return }
        owesContinue = false
        output.append(contentsOf: "HTTP/1.1 100 Continue\r\n\r\n".utf8)
    }

    /// Makes room for a body as it arrives, by doubling, so that it is copied a few times instead of with each piece.
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
            // This is not done after each of many small requests: the rest would be moved again and again.
            input.removeFirst(start)
        } else {
            return
        }
        searchedTo = max(0, searchedTo - start)
        start = 0
    }
}
