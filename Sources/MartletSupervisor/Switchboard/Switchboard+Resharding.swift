// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// While the number of shards changes, requests are held, and then sent to the shards that have the users.

extension Switchboard {
    /// Holds new requests until ``release(now:)``; earlier ones are answered.
    func hold() { holding = HeldRequests(capacity: holdBytes, patience: Self.patience) }

    func hold(_ header: PeerHeader, _ input: [UInt8], _ payload: Range<Int>, now: UInt64) {
        if holding?.add(header, Array(input[payload]), now: now) == true { return }
        refused += 1
        let key = PendingRequests.Key(source: header.source, correlation: header.correlation)
        answer(.init(key: key, reply: .failed(.shardUnavailable(partial: nil))))
    }

    /// Sends the requests that were held to the shards that have the users now.
    func release(now: UInt64) {
        guard let held = holding?.requests else { return }
        holding = nil
        for (header, payload) in held { route(header, payload, 0..<payload.count, now: now) }
    }

    /// Replaces all workers and the map.
    func replaceAll(by new: [WorkerProcess], _ map: ShardMap) {
        // Frozen workers have answered everything; this is for requests that nobody can answer any more.
        for worker in workers { shardFailed(worker.shard) }
        roster.replaceAll(by: new, map)
        interest = InterestTable()
        isRemindedUntil = Clock.monotonicNanoseconds() + Self.memory
    }

    /// Routes a request again that was routed with a map that is not in force any more.
    func reroute(
        _ request: Request,
        _ header: PeerHeader,
        _ input: [UInt8],
        _ payload: Range<Int>,
        textStart: Int,
        now: UInt64
    ) {
        rerouted += 1
        let key = PendingRequests.Key(source: header.source, correlation: header.correlation)
        if request.command == .batch {
            return split(input, textStart..<payload.upperBound, key, now: now)
        }
        switch request.command.destination(in: map) {
        case .nobody: answer(.init(key: key, reply: request.command.replyOfNobody))
        case .shard(let shard): pass(header, input, payload, to: workers[shard], now: now)
        case .anyShard: pass(header, input, payload, to: workers.first(where: \.isServing) ?? workers[0], now: now)
        case .everyShard, .room:
            let text = input.span.extracting(textStart..<payload.upperBound)
            spread(request, text: text, key, mapGeneration: map.generation, now: now)
        }
    }

    /// Splits a batch for one previous shard between several shards; their answers become one again.
    private func split(_ input: [UInt8], _ range: Range<Int>, _ key: PendingRequests.Key, now: UInt64) {
        let answers = SplitBatch { self.answer(.init(key: key, reply: .batch($0))) }
        do throws(WireError) {
            try BatchCoding.forEach(in: input, range) { request, text in
                guard case .shard(let shard) = request.command.destination(in: map) else { return answers.addFailure() }
                answers.add(request, input.span.extracting(text), to: shard)
            }
        } catch {
            return answer(.init(key: key, reply: .failed(.malformed)))
        }
        for (shard, parcel) in answers.takeParcels() {
            nextCorrelation += 1
            ownAskers[nextCorrelation] = { answers.answered(parcel.numbers, $0) }
            let own = PendingRequests.Key(source: PeerAddress.supervisor, correlation: nextCorrelation)
            send(Request(.batch), text: parcel.bytes.span, own, to: [workers[shard]], mode: .single, now: now)
        }
    }
}
