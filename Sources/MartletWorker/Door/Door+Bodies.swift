// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

// The limit of body bytes of all peers of a kind together. A body counts with the length that its head announces, before any of
// it is read, so that no two bodies wait for each other's room. Of a batch, whose lines are handled as they arrive, one
// line counts. A body in chunks announces no length; it counts as it grows, and is refused when there is no room.

extension Door {
    /// Counts the body that an event announces; if too many bytes are under way, refuses the request and returns false.
    func beginBody(_ connection: HTTPConnection, _ event: HTTPExchange.Event) -> Bool {
        let (number, byteCount): (Int, Int)
        switch event {
        case .bodyAnnounced(_, let request, let promised):
            (number, byteCount) = (request, promised ?? min(settings.maxBodyBytes, Self.shortLines))
        case .streamBegan(let request, let stream):
            // Lines are handled as they arrive, so few of their bytes are held; a long one is counted as it grows.
            (number, byteCount) = (stream, min(request.contentLength ?? .max, Self.shortLines))
        case .request, .line, .lineTooLong, .streamEnded, .needsMore: return true
        }
        guard count(byteCount, connection) else {
            let answer = APIAnswer.problem(.overloaded).response
            respond(connection, number: number, connection.kind == .client ? answer.readableByPages : answer)
            return false
        }
        return true
    }

    /// Counts more bytes of a peer's body; false if too many are under way of its kind.
    ///
    /// Clients have a room of their own, a quarter of that of backends, so that they cannot take it from those.
    private func count(_ more: Int, _ connection: HTTPConnection) -> Bool {
        let most = connection.kind == .client && !settings.isDevelopment ? settings.bodyBytes / 4 : settings.bodyBytes
        guard bodyBytes[connection.kind, default: 0] + more <= most else {
            tally.counters[.bodiesRefused] += 1
            return false
        }
        connection.bodyBytes += more
        bodyBytes[connection.kind, default: 0] += more
        return true
    }

    /// How many bytes are held of a body with short lines, and counted at first of one that does not say its length.
    private static let shortLines = 131_072

    /// Counts a line that has grown, or a body in chunks; if there is no room for it, ends the connection.
    ///
    /// Returns false then.
    func growBody(_ connection: HTTPConnection) -> Bool {
        let held = connection.exchange.unhandledCount
        guard connection.exchange.isOpenEnded, held > connection.bodyBytes else { return true }
        let more = min(2 * held, settings.maxBodyBytes + Self.shortLines) - connection.bodyBytes
        guard more > 0 else { return true }
        if count(more, connection) { return true }
        connection.batch = nil
        connection.exchange.fail(APIAnswer.problem(.overloaded))
        markDirty(connection)
        return false
    }

    /// Stops counting a body that is complete or was refused.
    func endBody(_ connection: HTTPConnection) {
        if connection.bodyBytes == 0 { return }
        bodyBytes[connection.kind, default: 0] -= connection.bodyBytes
        connection.bodyBytes = 0
    }
}
