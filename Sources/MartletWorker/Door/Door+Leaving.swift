internal import MartletLinux
internal import MartletWire

extension Door {
    /// Takes the socket out of the door, for a WebSocket or another worker; the caller owns it from now on.
    func takeSocket(of peer: HTTPPeer) -> Int32 {
        let descriptor = peer.descriptor
        if !peer.interest.isEmpty { loop.deregister(descriptor) }
        forget(peer)
        return descriptor
    }

    func close(_ peer: HTTPPeer) {
        guard peer.descriptor >= 0 else { return }
        if !peer.interest.isEmpty { loop.deregister(peer.descriptor) }
        closeDescriptor(peer.descriptor)
        forget(peer)
    }

    func forget(_ peer: HTTPPeer) {
        peer.descriptor = -1
        // They hold each other.
        peer.batch = nil
        peer.interest = []
        peers[peer.index] = nil
        vacant.append(peer.index)
        counts[peer.kind, default: 0] -= 1
        endBody(peer)
    }

    /// Gives back what a storm of connections needed, once all are gone.
    func shrinkWhenEmpty() {
        guard count == 0 else { return }
        peers = []
        vacant = []
        dirty = []
        later = []
    }

    /// Refuses a socket that came back, or came from elsewhere, with an answer of HTTP; the socket is closed.
    func refuse(_ descriptor: Int32, _ problem: HTTPProblem) {
        var bytes: [UInt8] = []
        problem.response.write(to: &bytes, connection: .closes, date: dateNow())
        StreamSocket.answerAndClose(descriptor, bytes)
    }

    /// Closes whoever has nothing under way; the others are closed when they are answered.
    func beginStopping() {
        stopAccepting()
        for peer in peers.compactMap({ $0 }) {
            peer.exchange.stopReading()
            if let batch = peer.batch {
                // Lines that were taken are answered; those that were not get no answer, and the client sees the cut.
                peer.exchange.stopStream()
                if batch.cut() { continue }
                peer.batch = nil
            }
            if !peer.exchange.isWaiting, !peer.owesBytes { close(peer) } else { markDirty(peer) }
        }
    }
}
