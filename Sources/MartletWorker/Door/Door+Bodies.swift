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
        // A client's body counts as it comes.
        if isOfClients(connection) { return true }
        guard count(byteCount, connection) else {
            respond(connection, number: number, APIAnswer.problem(.overloaded).response)
            return false
        }
        return true
    }

    /// In which steps clients' bodies are counted.
    private static let step = 16384

    /// Returns true for clients' posts, which have a room of their own, so that they cannot take it from backends.
    private func isOfClients(_ connection: HTTPConnection) -> Bool {
        connection.kind == .client && !settings.isDevelopment
    }

    /// Counts more bytes of a peer's body; false if too many are under way of its kind.
    private func count(_ more: Int, _ connection: HTTPConnection) -> Bool {
        // Two of the largest always fit.
        let ofClients = max(settings.bodyBytes / 4, 2 * (settings.postBytes + Self.step))
        let most = isOfClients(connection) ? ofClients : settings.bodyBytes
        while bodyBytes[connection.kind, default: 0] + more > most {
            tally.counters[.bodiesRefused] += 1
            // Of clients the oldest must go: whoever posts slowly must not keep out whoever comes.
            guard isOfClients(connection), let oldest = oldestPost(besides: connection) else { return false }
            refuseBody(of: oldest)
        }
        connection.bodyBytes += more
        bodyBytes[connection.kind, default: 0] += more
        return true
    }

    /// Returns the client whose unfinished post began first; of those that began in one turn, the largest one.
    private func oldestPost(besides newest: HTTPConnection) -> HTTPConnection? {
        connections.lazy.compactMap { $0 }.filter { $0.kind == .client && $0.bodyBytes > 0 && $0 !== newest }
            .min { ($0.since, $1.bodyBytes) < ($1.since, $0.bodyBytes) }
    }

    private func refuseBody(of connection: HTTPConnection) {
        let problem = APIAnswer.problem(.overloaded)
        connection.batch = nil
        endBody(connection)
        connection.exchange.fail(connection.kind == .client ? problem.readableByPages : problem)
        markDirty(connection)
    }

    /// How many bytes are held of a body with short lines, and counted at first of one that does not say its length.
    private static let shortLines = 131_072

    /// Counts a line that has grown, or a body in chunks; if there is no room for it, ends the connection.
    ///
    /// Returns false then.
    func growBody(_ connection: HTTPConnection) -> Bool {
        let held = connection.exchange.unhandledCount
        let grows = connection.exchange.isOpenEnded || (isOfClients(connection) && connection.exchange.isReceivingBody)
        guard grows, held > connection.bodyBytes else { return true }
        let room = isOfClients(connection) ? held + Self.step : min(2 * held, settings.maxBodyBytes + Self.shortLines)
        let more = room - connection.bodyBytes
        guard more > 0 else { return true }
        if count(more, connection) { return true }
        refuseBody(of: connection)
        return false
    }

    /// Stops counting a body that is complete or was refused.
    func endBody(_ connection: HTTPConnection) {
        if connection.bodyBytes == 0 { return }
        bodyBytes[connection.kind, default: 0] -= connection.bodyBytes
        connection.bodyBytes = 0
    }
}
