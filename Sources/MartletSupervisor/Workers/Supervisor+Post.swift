internal import MartletCore
internal import MartletLinux
internal import MartletWire

// Clients' sockets on their way from the worker that accepted them to the one that owns their user.

extension Supervisor {
    /// Passes a client's socket on; one that cannot be passed goes back, to be refused with an answer.
    ///
    /// `most`: so many at once, as the others have their turn, too.
    func postReady(_ worker: WorkerProcess?, most: Int = .max) {
        guard let worker else { return }
        for _ in 0..<most {
            guard let post = worker.post, let packet = post.receive() else { break }
            deliver(packet)
        }
        if let post = worker.post, post.isClosed { loop.deregister(post.descriptor) }
    }

    /// To the worker that has the client's user, now or when there is one again, or back.
    func deliver(_ packet: DescriptorChannel.Packet) {
        guard let descriptor = packet.descriptor else { return }
        // Whoever passes something else wants it in another worker's hands.
        guard StreamSocket.isConnection(descriptor), let ticket = try? AdoptionTicket(packet.bytes), !ticket.isReturned
        else { return closeDescriptor(descriptor) }
        let packet = DescriptorChannel.Packet(bytes: readdressed(ticket, packet.bytes), descriptor: descriptor)
        if let owner = owner(of: ticket) {
            if owner.isRecovering || owner.isHeld || owner.isUnconfirmed {
                if owner.heldClients.count < mostHeldClients { return owner.heldClients.append(packet) }
            } else if owner.isServing {
                let bytes = understood(packet.bytes, by: owner)
                if (try? owner.post?.send(bytes, descriptor: descriptor)) != nil { return }
            }
        }
        giveBack(packet.bytes, descriptor)
    }

    /// Who has a client's user.
    func owner(of ticket: AdoptionTicket) -> WorkerProcess? {
        let shard =
            ticket.service == .messages
            ? switchboard.map.shard(ofUser: ticket.bearer.user) : min(Int(ticket.destination), workers.count - 1)
        return workers.indices.contains(shard) ? workers[shard] : nil
    }

    /// A ticket's bytes with the shard that its user has now: it may have been written before there was another number.
    func readdressed(_ ticket: AdoptionTicket, _ bytes: [UInt8]) -> [UInt8] {
        guard let owner = owner(of: ticket), owner.shard != Int(ticket.destination) else { return bytes }
        var ticket = ticket
        ticket.destination = UInt16(owner.shard)
        return ticket.bytes
    }

    /// A ticket that a worker of the program before ours can read: it does not know of windows, and an extension need not be
    /// agreed on.
    private func understood(_ bytes: [UInt8], by worker: WorkerProcess) -> [UInt8] {
        if worker.isOfThisProgram { return bytes }
        guard var ticket = try? AdoptionTicket(bytes), ticket.deflate?.askedWindow != nil else { return bytes }
        ticket.deflate = nil
        return ticket.bytes
    }

    /// Passes on a client that had to wait.
    func passOn(_ packet: DescriptorChannel.Packet, to worker: WorkerProcess) {
        guard let descriptor = packet.descriptor else { return }
        if (try? worker.post?.send(understood(packet.bytes, by: worker), descriptor: descriptor)) != nil { return }
        giveBack(packet.bytes, descriptor)
    }

    /// Refuses clients' sockets for which there is nobody.
    func giveBack(_ packets: [DescriptorChannel.Packet]) {
        for packet in packets {
            if let descriptor = packet.descriptor { giveBack(packet.bytes, descriptor) }
        }
    }

    /// Sends a client's socket back to the worker that accepted it, which refuses it with an answer; where there is no such
    /// worker now, the answer is ours.
    func giveBack(_ bytes: [UInt8], _ descriptor: Int32) {
        let ticket = try? AdoptionTicket(bytes)
        let source = ticket.flatMap { workers.indices.contains(Int($0.source)) ? workers[Int($0.source)] : nil }
        if var ticket, let source, source.isServing {
            ticket.isReturned = true
            if (try? source.post?.send(ticket.bytes, descriptor: descriptor)) != nil { return }
        }
        (source ?? workers[0]).ledger[.refusedUnavailable] += 1
        var answer: [UInt8] = []
        let date = HTTPDate(unixSeconds: Clock.unixMilliseconds() / 1000)
        APIAnswer.problem(.shardUnavailable(partial: nil)).response.write(to: &answer, connection: .closes, date: date)
        StreamSocket.answerAndClose(descriptor, answer)
    }
}
