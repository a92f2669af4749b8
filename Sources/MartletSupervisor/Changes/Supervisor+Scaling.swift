// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore
internal import MartletLinux
internal import MartletWire

// How the number of shards changes while all clients stay connected: a new set of workers takes over from the old one.

extension Supervisor {
    /// Changes the number of shards; calls `respond` with the reason it failed, or nil on success.
    ///
    /// With `isForced` this is done even if there are already so many shards, so that they get new memory.
    func scale(to count: Int, isForced: Bool = false, _ respond: @escaping (String?) -> Void) {
        guard (1...ShardMap.largestShardCount).contains(count) else {
            return respond("there can be 1 to \(ShardMap.largestShardCount) workers")
        }
        if let refusal = refusal(toBegin: .scale) { return respond(refusal) }
        if count == workers.count, !isForced { return respond(nil) }
        let map = ShardMap(shardCount: count, generation: switchboard.map.generation + 1)
        let newBoard: Board
        do {
            newBoard = try Board(shards: count, limits: configuration.limits, addressKey: board.addressKey)
        } catch {
            return respond("\(error)")
        }
        workers.forEach(keeperSpoke)
        let generation = (workers + others).map(\.generation).max() ?? 0
        let heirs = (0..<count).map { shard in
            nextTag += 1
            let donors = Donors(workers: workers, board: board)
            return WorkerProcess(shard: shard, tag: nextTag, takingFrom: donors, after: generation)
        }
        let steps = unsafe Resharding(
            donors: workers.count,
            heirs: count,
            now: loop.now,
            patience: configuration.supervision.handoverTimeout.nanoseconds
        )
        undertaking.begin(.scaling(Scaling(steps, heirs, map: map, board: newBoard, respond)))
        log.info("Scaling", metadata: ["from": "\(workers.count)", "to": "\(count)"])
        for heir in heirs {
            roster.others.append(heir)
            start(heir)
            if heir.process == nil { otherEnded(heir, WorkerEnd("it could not be started")) }
        }
    }

    /// Handles an event in the change of the number of shards.
    func continueScaling(_ event: Resharding.Event) {
        guard let scaling, !scaling.isCommitted else { return }
        switch unsafe scaling.steps.heard(event, now: loop.now) {
        case .none: return
        case .freeze:
            switchboard.hold()
            for donor in workers {
                _ = donor.custody.heard(.froze)
                tell(donor, .freeze)
            }
            for heir in scaling.heirs { heir.pauseBegan() }
        case .collect(let round):
            for (number, heir) in scaling.heirs.enumerated() {
                guard let donor = scaling.steps.donor(of: number, in: round) else { continue }
                var writer = ByteWriter()
                writer.put(UInt16(donor))
                if round == 0 { heir.collectBegan() }
                tell(heir, .collect, writer.bytes)
            }
        case .awaitCopies: for heir in scaling.heirs { tell(heir, .awaitCopies) }
        case .commit: commit(scaling)
        case .killHeirs: for heir in scaling.heirs { heir.end("it did not take over") }
        case .thaw(let reason):
            for donor in workers {
                tell(donor, .thaw)
                act(donor.custody.heard(.thawed), on: donor)
            }
            unsafe switchboard.release(now: loop.now)
            giveUp(scaling, reason)
        case .giveUp(let reason): giveUp(scaling, reason)
        }
    }

    private func giveUp(_ scaling: Scaling, _ reason: String) {
        log.event(.notScaled, metadata: ["why": "\(reason)"])
        undertaking.end()
        scaling.respond(reason)
    }

    /// Makes the heirs the owners of the shards.
    private func commit(_ scaling: Scaling) {
        scaling.isCommitted = true
        isStoreStale = true
        let donors = workers
        let waiting = donors.flatMap { ($0.process?.post.takeWaiting() ?? []) + $0.takeHeldClients() }
        for (number, heir) in scaling.heirs.enumerated() {
            // The first shard gets the counters of shards that do not exist any more.
            let last = number == 0 ? Array(donors.dropFirst(scaling.heirs.count)) : []
            unsafe heir.succeed(countersOf: donors.dropFirst(number).prefix(1) + last, now: loop.now)
        }
        board = scaling.board
        switchboard.replaceAll(by: scaling.heirs, scaling.map)
        for donor in donors {
            retire(donor)
            donor.closeArena()
        }
        for heir in workers { act(heir.custody.heard(.committed), on: heir) }
        for packet in waiting {
            guard let ticket = try? AdoptionTicket(packet.bytes), !ticket.isReturned, let owner = owner(of: ticket)
            else {
                giveBack([packet])
                continue
            }
            owner.heldClients.append(.init(bytes: readdressed(ticket, packet.bytes), descriptor: packet.descriptor))
        }
    }

    /// Releases the requests that were held, once every shard serves, or is known not to.
    func finishScaling() {
        guard let scaling, scaling.isCommitted, !workers.contains(where: \.custody.isRecovering) else { return }
        undertaking.end()
        unsafe switchboard.release(now: loop.now)
        log.event(.scaled, metadata: ["workers": "\(workers.count)"])
        scaling.respond(nil)
    }
}
