// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// What a backend publishes, checked, and in the form in which it is carried out.
package struct Publish {
    package let request: Request
    /// The event's envelope; nil: what the backend sent is delivered byte for byte (``body``).
    private let envelope: [UInt8]?
    /// Where the message lies in what the backend sent.
    private let body: Range<Int>

    /// Checks the body of a publish over HTTP.
    ///
    /// - Parameters:
    ///   - command: Who gets it.
    ///   - isEvent: Whether it is an event, which gets an envelope.
    ///   - body: What the backend sent.
    ///   - http: The request, which may have an `Idempotency-Key`.
    ///   - unixMilliseconds: The time of the envelope.
    /// - Throws: The answer, if the publish is not valid.
    package init(
        _ command: Command,
        isEvent: Bool,
        body: Span<UInt8>,
        of http: HTTPRequest,
        unixMilliseconds: @autoclosure () -> Int64
    ) throws(HTTPProblem) {
        do throws(JSONFailure) {
            try JSONScanner.validate(body)
        } catch {
            throw APIAnswer.problem(error)
        }
        let key = try APICall.idempotencyKey(http).map { RequestKey($0, of: command, body, isEvent: isEvent) }
        request = Request(command, key: key)
        self.body = 0..<body.count
        guard isEvent else {
            envelope = nil
            return
        }
        do throws(EventEnvelope.Problem) {
            envelope = try EventEnvelope.text(ofBody: body, unixMilliseconds: unixMilliseconds())
        } catch {
            throw HTTPProblem(400, "invalid_event", error.detail)
        }
    }

    /// Checks a line of a batch; throws the answer if it is not valid.
    package init(line: Span<UInt8>, unixMilliseconds: @autoclosure () -> Int64) throws(HTTPProblem) {
        let parts = try BatchLine(line)
        let source: Span<UInt8>
        let isEvent: Bool
        if let event = parts.event {
            isEvent = true
            envelope = EventEnvelope.text(
                type: event.type,
                data: event.data,
                of: line,
                unixMilliseconds: unixMilliseconds()
            )
            body =
                event.data.map {
                    min(event.type.lowerBound, $0.lowerBound)..<max(event.type.upperBound, $0.upperBound)
                } ?? event.type
        } else {
            isEvent = false
            envelope = nil
            body = parts.message ?? 0..<0
        }
        source = line.extracting(body)
        let key = parts.key.map { RequestKey($0, of: parts.command, source, isEvent: isEvent) }
        request = Request(parts.command, key: key)
    }

    /// Calls `carryOut` with the bytes to deliver; `sent` is what the publish was made from.
    package func withText(of sent: Span<UInt8>, _ carryOut: (Span<UInt8>) -> Void) {
        if let envelope { carryOut(envelope.span) } else { carryOut(sent.extracting(body)) }
    }
}
