internal import MartletCore
internal import MartletWire

// What all peers together may send of bodies: each is counted by what its head promises, before anything of it is taken, so
// that no two wait for each other's room.

extension Door {
    /// Counts the body that an event announces; false where too many bytes are under way, and the request is refused.
    func beginBody(_ peer: HTTPPeer, _ event: HTTPExchange.Event) -> Bool {
        let (number, byteCount): (Int, Int)
        switch event {
        case .bodyAnnounced(_, let request, let promised): (number, byteCount) = (request, promised)
        case .streamBegan(let request, let stream):
            // Lines are handled while they come; one of them may be as long as a body.
            (number, byteCount) = (stream, min(request.contentLength ?? 0, settings.maxBodyBytes + 65536))
        case .request, .line, .lineTooLong, .streamEnded, .needsMore: return true
        }
        guard bodyBytes + byteCount <= settings.bodyBytes else {
            tally.counters[.bodiesRefused] += 1
            respond(peer, number: number, APIAnswer.problem(.overloaded).response)
            return false
        }
        peer.bodyBytes = byteCount
        bodyBytes += byteCount
        return true
    }

    /// Stops counting a body that has come, or was refused.
    func endBody(_ peer: HTTPPeer) {
        bodyBytes -= peer.bodyBytes
        peer.bodyBytes = 0
    }
}
