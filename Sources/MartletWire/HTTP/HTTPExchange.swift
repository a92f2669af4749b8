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

        package init(bodyBytes: Int) {
            self.bodyBytes = bodyBytes
        }
    }

    package enum Event: Equatable, Sendable {
        /// A whole request. Its body is `input[body]` until the next call of ``next()``.
        case request(HTTPRequest, number: Int, body: Range<Int>)
        /// Nothing more without more bytes, or before answers.
        case needsMore
    }

    private struct Waiting {
        let isHead: Bool
        let keepsAlive: Bool
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

    package init(limits: Limits) {
        self.limits = limits
    }

    /// True until the last request that will be read: the owner may receive more.
    package var wantsInput: Bool {
        !isReadingOver && waiting.count < limits.pipelined && input.count - start < limits.headBytes + limits.bodyBytes
    }

    /// True while a request is half received: a peer that leaves now loses it.
    package var isMidRequest: Bool { input.count > start || head != nil }

    /// True while answers are owed.
    package var isWaiting: Bool { !waiting.isEmpty }

    /// True when everything is answered and nothing more will be: close the connection once ``output`` is sent.
    package var isOver: Bool { isReadingOver && waiting.isEmpty }

    /// Requests that wait for their answers.
    package var waitingCount: Int { waiting.count }

    /// True where something must be sent.
    package var hasOutput: Bool { !output.isEmpty }

    /// The bytes behind the head that was read last: what a client sent early after an upgrade request.
    package var remainder: ArraySlice<UInt8> { input[start...] }

    /// The next request.
    ///
    /// Malformed input is answered here, and ends the connection.
    package mutating func next() -> Event {
        dropConsumed()
        guard !isReadingOver, waiting.count < limits.pipelined else { return .needsMore }
        do throws(HTTPProblem) {
            guard let (request, bodyStart) = try readHead() else { return .needsMore }
            let length = request.contentLength ?? 0
            guard length <= limits.bodyBytes else { throw .bodyTooLarge(limit: limits.bodyBytes) }
            guard input.count - bodyStart >= length else {
                reserve(length)
                return .needsMore
            }
            head = nil
            start = bodyStart + length
            searchedTo = start
            if !request.keepsAlive { isReadingOver = true }
            waiting.append(Waiting(isHead: request.method == "HEAD", keepsAlive: request.keepsAlive))
            return .request(request, number: firstNumber + waiting.count - 1, body: bodyStart..<start)
        } catch {
            fail(error)
            return .needsMore
        }
    }

    /// Answers a request.
    package mutating func respond(to number: Int, _ response: HTTPResponse) {
        let index = number - firstNumber
        guard waiting.indices.contains(index), waiting[index].response == nil else { return }
        waiting[index].response = response
        flushAnswers()
    }

    /// Answers, after the requests before it, something that is no request, and ends the connection.
    package mutating func fail(_ problem: HTTPProblem) {
        isReadingOver = true
        start = input.count
        head = nil
        waiting.append(Waiting(isHead: false, keepsAlive: false, response: problem.response))
        flushAnswers()
    }

    /// No further request will be read; what is owed is still answered.
    package mutating func stopReading() {
        isReadingOver = true
    }

    /// Takes what must be sent.
    package mutating func takeOutput() -> [UInt8] {
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
        if request.expectsContinue, request.contentLength ?? 0 <= limits.bodyBytes, waiting.isEmpty {
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
