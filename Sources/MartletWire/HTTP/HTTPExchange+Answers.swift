// SPDX-License-Identifier: Apache-2.0

// How requests are answered, in their order, and what must be sent.

extension HTTPExchange {
    /// Answers a request.
    ///
    /// To answer a request whose body is still to come, or a stream whose answer has not begun, means to refuse it:
    /// this ends the connection, because the body is not read.
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

    /// Answers input that is not a request, after the requests before it, and ends the connection.
    package mutating func fail(_ problem: HTTPProblem) {
        isReadingOver = true
        stream = nil
        if streamAnswer != nil {
            // An answer that has begun can only be cut short, so that the client does not take it for a whole one.
            streamAnswer = nil
            streamed = []
            return
        }
        if arrival.isAnnounced { waiting.removeLast() }
        endOfRequest(at: input.count)
        waiting.append(Waiting(problem))
        flushAnswers()
    }

    /// Passes the statuses of the answers since the last call to `body`.
    package mutating func takeAnswered(_ body: (Int) -> Void) {
        for status in answered { body(status) }
        answered.removeAll(keepingCapacity: true)
    }

    /// Puts everything that must be sent into ``output``.
    package mutating func prepareOutput() { flushStreamed() }

    /// Notes that the next bytes of the output were sent.
    package mutating func didSend(_ count: Int) {
        outputStart += count
        if outputStart == output.count {
            output.removeAll(keepingCapacity: output.capacity <= 65536)
            outputStart = 0
        } else if outputStart > 1 << 20 {
            output.removeFirst(outputStart)
            outputStart = 0
        }
    }

    /// Takes the bytes that must be sent.
    package mutating func takeOutput() -> [UInt8] {
        prepareOutput()
        defer { didSend(output.count - outputStart) }
        return Array(output[outputStart...])
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
        // The answers before an announced body are written now.
        if arrival.isAnnounced { writeContinue() }
    }
}
