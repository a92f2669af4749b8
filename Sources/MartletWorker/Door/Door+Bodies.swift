internal import MartletCore
internal import MartletWire

// What all peers together may send of bodies: each is counted by what its head promises, before anything of it is taken, so
// that no two wait for each other's room. Of a batch, whose lines are handled while they come, a line counts.

extension Door {
    /// Counts the body that an event announces; false where too many bytes are under way, and the request is refused.
    func beginBody(_ connection: HTTPConnection, _ event: HTTPExchange.Event) -> Bool {
        let (number, byteCount): (Int, Int)
        switch event {
        case .bodyAnnounced(_, let request, let promised): (number, byteCount) = (request, promised)
        case .streamBegan(let request, let stream):
            // Lines are handled while they come, so that little of them lies here; a long one is counted as it grows.
            (number, byteCount) = (stream, min(request.contentLength ?? 0, Self.shortLines))
        case .request, .line, .lineTooLong, .streamEnded, .needsMore: return true
        }
        guard bodyBytes + byteCount <= settings.bodyBytes else {
            tally.counters[.bodiesRefused] += 1
            respond(connection, number: number, APIAnswer.problem(.overloaded).response)
            return false
        }
        connection.bodyBytes = byteCount
        bodyBytes += byteCount
        return true
    }

    /// What is held of the body of lines that are short.
    private static let shortLines = 131_072

    /// Counts what a line has grown to; false where there is no room for it: its batch ends here.
    func growBody(_ connection: HTTPConnection) -> Bool {
        let held = connection.exchange.unhandledCount
        guard connection.exchange.isStreaming, held > connection.bodyBytes else { return true }
        let more = min(2 * held, settings.maxBodyBytes + Self.shortLines) - connection.bodyBytes
        guard more > 0 else { return true }
        guard bodyBytes + more <= settings.bodyBytes else {
            tally.counters[.bodiesRefused] += 1
            connection.batch = nil
            connection.exchange.fail(APIAnswer.problem(.overloaded))
            markDirty(connection)
            return false
        }
        connection.bodyBytes += more
        bodyBytes += more
        return true
    }

    /// Stops counting a body that has come, or was refused.
    func endBody(_ connection: HTTPConnection) {
        bodyBytes -= connection.bodyBytes
        connection.bodyBytes = 0
    }
}
