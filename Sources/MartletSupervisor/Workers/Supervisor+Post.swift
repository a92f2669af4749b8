// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// Clients' sockets on their way from the worker that accepted them to the one that owns their user.

extension Supervisor {
    /// Passes on the clients' sockets that a worker has sent, or returns them to be refused with an answer.
    ///
    /// `most` limits how many are passed on at once, so that other workers get their turn too.
    func postReady(_ worker: WorkerProcess?, most: Int = .max) {
        guard let worker else { return }
        for _ in 0..<most {
            guard let post = worker.process?.post, let packet = post.receive() else { break }
            deliver(packet)
        }
        if let post = worker.process?.post, post.isClosed { loop.deregister(post.descriptor) }
    }

    /// Passes a client to the worker that has its user, now or when there is one again, or returns it.
    func deliver(_ packet: DescriptorChannel.Packet) {
        guard let descriptor = packet.descriptor else { return }
        // A worker that passes anything else may want to place it into another worker.
        guard StreamSocket.isConnection(descriptor), let ticket = try? AdoptionTicket(packet.bytes), !ticket.isReturned
        else { return closeDescriptor(descriptor) }
        let packet = DescriptorChannel.Packet(bytes: readdressed(ticket, packet.bytes), descriptor: descriptor)
        if let owner = owner(of: ticket) {
            if owner.custody.holdsClients {
                if owner.heldClients.count < mostHeldClients { return owner.heldClients.append(packet) }
            } else if owner.isServing {
                if send(packet.bytes, descriptor, to: owner) { return }
            }
        }
        giveBack(packet.bytes, descriptor)
    }

    /// Returns the worker that has a client's user.
    func owner(of ticket: AdoptionTicket) -> WorkerProcess? {
        let shard =
            ticket.service == .messages
            ? switchboard.map.shard(ofUser: ticket.bearer.user) : min(Int(ticket.destination), workers.count - 1)
        return workers.indices.contains(shard) ? workers[shard] : nil
    }

    /// Returns a ticket's bytes with the current shard of its user, which may have changed in the meantime.
    func readdressed(_ ticket: AdoptionTicket, _ bytes: [UInt8]) -> [UInt8] {
        guard let owner = owner(of: ticket), owner.shard != Int(ticket.destination) else { return bytes }
        var ticket = ticket
        ticket.destination = UInt16(owner.shard)
        return ticket.bytes
    }

    /// Sends a client with its ticket to a worker; false if that worker cannot take it.
    private func send(_ bytes: [UInt8], _ descriptor: Int32, to worker: WorkerProcess) -> Bool {
        guard let bytes = understood(bytes, by: worker) else { return false }
        return (try? worker.process?.post.send(bytes, descriptor: descriptor)) != nil
    }

    /// Returns a ticket that a worker can read, even if it is a worker of the previous program; nil if there is none.
    ///
    /// Such a worker does not know about windows, so the ticket is sent without an agreement on compression; nor about
    /// sessions, nor about server-sent events.
    private func understood(_ bytes: [UInt8], by worker: WorkerProcess) -> [UInt8]? {
        if worker.process?.isOfThisProgram == true { return bytes }
        if !worker.knowsSessions, let ticket = try? AdoptionTicket(bytes), ticket.accepted == nil { return nil }
        guard var ticket = try? AdoptionTicket(bytes),
            ticket.accepted?.deflate?.askedWindow != nil || ticket.resume != nil
        else { return bytes }
        if ticket.accepted?.deflate?.askedWindow != nil { ticket.accepted?.deflate = nil }
        if !worker.knowsSessions { ticket.resume = nil }
        return ticket.bytes
    }

    /// Passes a client that had to wait on to a worker.
    func passOn(_ packet: DescriptorChannel.Packet, to worker: WorkerProcess) {
        guard let descriptor = packet.descriptor else { return }
        if send(packet.bytes, descriptor, to: worker) { return }
        giveBack(packet.bytes, descriptor)
    }

    /// Gives back clients' sockets that no worker can take.
    func giveBack(_ packets: [DescriptorChannel.Packet]) {
        for packet in packets {
            if let descriptor = packet.descriptor { giveBack(packet.bytes, descriptor) }
        }
    }

    /// Sends a client's socket back to the worker that accepted it, to be refused with an answer.
    ///
    /// If there is no such worker now, we answer ourselves.
    func giveBack(_ bytes: [UInt8], _ descriptor: Int32) {
        let ticket = try? AdoptionTicket(bytes)
        let source = ticket.flatMap { workers.indices.contains(Int($0.source)) ? workers[Int($0.source)] : nil }
        if var ticket, let source, source.isServing {
            ticket.isReturned = true
            if (try? source.process?.post.send(ticket.bytes, descriptor: descriptor)) != nil { return }
        }
        (source ?? workers[0]).ledger[.refusedUnavailable] += 1
        var answer: [UInt8] = []
        let date = HTTPDate(unixSeconds: Clock.unixMilliseconds() / 1000)
        let response = APIAnswer.problem(.shardUnavailable(partial: nil)).response
        let isStream = ticket.map { $0.accepted == nil } ?? false
        (isStream ? response.readableByPages : response).write(to: &answer, connection: .closes, date: date)
        StreamSocket.answerAndClose(descriptor, answer)
    }
}
