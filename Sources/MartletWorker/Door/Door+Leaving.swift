// SPDX-License-Identifier: Apache-2.0

internal import MartletLinux
internal import MartletWire

extension Door {
    /// Takes a peer's socket out of the door, for a WebSocket or another worker; the caller owns it from now on.
    func takeSocket(of connection: HTTPConnection) -> Int32 {
        let descriptor = connection.descriptor
        if !connection.interest.isEmpty { loop.deregister(descriptor) }
        forget(connection)
        return descriptor
    }

    func close(_ connection: HTTPConnection) {
        guard connection.descriptor >= 0 else { return }
        if !connection.interest.isEmpty { loop.deregister(connection.descriptor) }
        closeDescriptor(connection.descriptor)
        forget(connection)
    }

    func forget(_ connection: HTTPConnection) {
        connection.descriptor = -1
        // The peer and its batch refer to each other.
        connection.batch = nil
        connection.interest = []
        connections[connection.index] = nil
        vacant.append(connection.index)
        counts[connection.kind, default: 0] -= 1
        endBody(connection)
    }

    /// Gives back the memory that a storm of connections needed, once all of them are gone.
    func shrinkWhenEmpty() {
        guard count == 0 else { return }
        connections = []
        vacant = []
        dirty = []
        later = []
    }

    /// Refuses a socket that came back, or came from another worker, with an HTTP answer, and closes it.
    func refuse(_ descriptor: Int32, _ response: HTTPResponse) {
        var bytes: [UInt8] = []
        response.write(to: &bytes, connection: .closes, date: dateNow())
        StreamSocket.answerAndClose(descriptor, bytes)
    }

    /// Closes the peers that have nothing under way; the others are closed when they are answered.
    func beginStopping() {
        stopAccepting()
        for connection in connections.compactMap({ $0 }) {
            connection.exchange.stopReading()
            if let batch = connection.batch {
                // Lines that were read are answered; the others are not, and the client sees that the answer is cut.
                connection.exchange.stopStream()
                if batch.cut() { continue }
                connection.batch = nil
            }
            if !connection.exchange.isWaiting, !connection.owesBytes {
                close(connection)
            } else {
                markDirty(connection)
            }
        }
    }

    // MARK: Handing over

    /// Stops accepting and reading until ``resume()``.
    func pause() {
        stopAccepting()
        isPaused = true
        for connection in connections { if let connection { watch(connection) } }
    }

    func resume() {
        readAgain()
        startAccepting()
    }

    /// Goes on with the present peers, for one more answer each; new peers belong to another worker.
    func retire() {
        for connection in connections { connection?.exchange.endsAfterNext = true }
        readAgain()
    }

    private func readAgain() {
        isPaused = false
        for connection in connections {
            guard let connection else { continue }
            watch(connection)
            // What came before the pause is read now.
            markDirty(connection)
        }
    }
}
