// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How a client comes in: it is accepted here, or passed on to the worker that owns its user.

extension Worker {
    /// Makes the ticket that travels with a client's socket; its destination is not known yet.
    func ticket(
        _ service: AdoptionTicket.Service,
        _ call: HTTPCall,
        _ bearer: Bearer,
        from caller: Gatekeeper.Caller,
        _ accepted: Handshake.Accepted?
    ) -> AdoptionTicket {
        let connection = call.connection
        var bearer = bearer
        bearer.origin = gatekeeper.origin(of: caller, call.request)
        var ticket = AdoptionTicket(
            destination: contract.shard,
            source: contract.shard,
            service: service,
            bearer: bearer,
            accepted: accepted,
            bytesRead: connection.bytesRead,
            leftover: Array(connection.exchange.remainder)
        )
        ticket.address = gatekeeper.countedNumber(of: caller)
        return ticket
    }

    func upgrade(_ call: HTTPCall, _ ticket: AdoptionTicket, _ manager: isolated WebSocketManager) {
        let connection = call.connection
        var ticket = ticket
        let owner =
            ticket.service == .echo
            ? (shard: Int(contract.shard), isServing: true)
            : router.owner(ofUser: ticket.bearer.user)
        let refusal: HTTPProblem? =
            if isStopping || !owner.isServing {
                APIAnswer.problem(.shardUnavailable(partial: nil))
            } else if ticket.leftover.count > ticket.mostLeftover || !connection.isDone {
                .badRequest("wait for the answer before you send more")
            } else {
                nil
            }
        if let refusal {
            count(refusal: refusal)
            if ticket.isTold(refusal), connection.isDone {
                return turnAway(door.takeSocket(of: connection), ticket, refusal)
            }
            var response = refusal.response(to: ticket)
            response.closes = true
            door.respond(connection, number: call.number, response)
            return
        }
        ticket.destination = UInt16(owner.shard)
        let descriptor = door.takeSocket(of: connection)
        if router.isMine(ticket.destination) {
            adopt(descriptor, ticket, manager)
        } else {
            pass(descriptor, ticket)
        }
    }

    private func adopt(_ descriptor: Int32, _ ticket: AdoptionTicket, _ manager: isolated WebSocketManager) {
        do throws(HTTPProblem) {
            if isStopping { throw APIAnswer.problem(.shardUnavailable(partial: nil)) }
            try shard.adopt(descriptor, ticket, gatekeeper, on: manager)
        } catch {
            logRefusal(error, from: ticket.bearer.origin?.address, origin: nil)
            refuse(descriptor, ticket, error)
        }
    }

    /// Refuses a client whose socket the door does not have any more.
    func refuse(_ descriptor: Int32, _ ticket: AdoptionTicket?, _ problem: HTTPProblem) {
        count(refusal: problem)
        if let ticket, ticket.isTold(problem) {
            turnAway(descriptor, ticket, problem)
        } else {
            door.refuse(descriptor, ticket.map { problem.response(to: $0) } ?? problem.response)
        }
    }

    /// Lets a client in that asks for a session, only to tell it why it may not stay.
    ///
    /// A browser tells a page nothing about an HTTP answer to a WebSocket, but it does about a close frame.
    func turnAway(_ descriptor: Int32, _ ticket: AdoptionTicket, _ problem: HTTPProblem) {
        guard let code = problem.closeCode, let accepted = ticket.accepted else { return closeDescriptor(descriptor) }
        var bytes: [UInt8] = []
        Handshake.write(.init(acceptValue: accepted.acceptValue, subprotocol: accepted.subprotocol), to: &bytes)
        bytes += FrameEncoder.closeFrame(code: code, reason: problem.detail)
        StreamSocket.answerAndClose(descriptor, bytes)
    }

    /// Writes down who was refused, and why; anybody can cause this, so it is for debugging only.
    func logRefusal(_ problem: HTTPProblem, from address: String?, origin: String?) {
        log.debug(
            "A client was refused",
            metadata: [
                "code": "\(problem.code)", "address": "\(address ?? "")", "origin": "\((origin ?? "").prefix(256))",
            ]
        )
    }

    private func pass(_ descriptor: Int32, _ ticket: AdoptionTicket) {
        do throws(DescriptorChannel.Refusal) {
            try post.send(ticket.bytes, descriptor: descriptor)
        } catch {
            refuse(descriptor, ticket, APIAnswer.problem(.shardUnavailable(partial: nil)))
            // Clients can cause this by all connecting at once, so it is not logged every time.
            passFailures += 1
            if passFailures % 100 == 1 {
                log.warning("Cannot pass a client to its shard", metadata: ["why": "\(error)"])
            }
        }
    }

    /// Takes over the shard, which the supervisor has made ours.
    func takeOver(_ manager: isolated WebSocketManager) {
        let outcome: Adoption
        Fault.at(.commit)
        if let inheritance {
            outcome = shard.takeOver(inheritance, gatekeeper, on: manager)
        } else if let gathering {
            outcome = shard.takeOver(gathering, gatekeeper, on: manager)
        } else {
            return
        }
        inheritance = nil
        gathering = nil
        tookOverAt = unsafe loop.now
        Fault.at(.recovered)
        link.send(.recovered, outcome.bytes)
        link.send(.alive, CommandCoding.encode(.shard(statistics(byUser: false, manager))))
        door.startAccepting()
    }

    func postReady(_ manager: isolated WebSocketManager) {
        while let packet = post.receive() {
            guard let descriptor = packet.descriptor else { continue }
            guard let ticket = try? AdoptionTicket(packet.bytes) else {
                log.error("A client came with a ticket that cannot be read")
                closeDescriptor(descriptor)
                continue
            }
            if isStill, !ticket.isReturned {
                // The supervisor holds the client for the worker that will serve it.
                pass(descriptor, ticket)
            } else if ticket.isReturned || !router.isMine(ticket.destination) {
                refuse(descriptor, ticket, APIAnswer.problem(.shardUnavailable(partial: nil)))
            } else {
                // The worker that accepted it may be of a version that leaves this to us.
                StreamSocket.setUrgentInline(descriptor)
                adopt(descriptor, ticket, manager)
            }
        }
    }

    /// Counts an upgrade that was refused, by the reason.
    func count(refusal problem: HTTPProblem) {
        let counter: Counter =
            switch (problem.limit, problem.status) {
            case (.handshakes, _), (.badTokens, _): .refusedHandshakeRate
            case (.connectionsOfUser, _): .refusedUserLimit
            case (.connectionsOfAddress, _): .refusedAddressLimit
            case (.connections, _): .refusedNodeLimit
            case (nil, 401): .refusedUnauthorized
            case (nil, 403): .refusedForbidden
            case (nil, 503): .refusedUnavailable
            case (nil, _): .refusedMalformed
            }
        tally.counters[counter] += 1
    }
}

extension AdoptionTicket {
    /// The most that a client may have sent after its head: frames, or, if it will read only, nothing.
    fileprivate var mostLeftover: Int { accepted == nil ? 0 : Self.largestLeftover }

    /// Returns true if a client is let in to be told of a problem; one that reads server-sent events sees any answer.
    fileprivate func isTold(_ problem: HTTPProblem) -> Bool {
        accepted != nil && resume != nil && problem.closeCode != nil
    }
}

extension HTTPProblem {
    /// Returns the answer to whoever has this ticket, which a page may read that has asked for server-sent events.
    fileprivate func response(to ticket: AdoptionTicket) -> HTTPResponse {
        ticket.accepted == nil ? response.readableByPages : response
    }
}
