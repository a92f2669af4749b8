// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

// Rooms may have members on several shards, and the switchboard knows on which.

extension Switchboard {
    /// Notes changes of a shard's rooms.
    func note(_ changes: RoomChanges, from worker: WorkerProcess, correlation: UInt64) {
        for change in changes.changes { interest.note(change, shard: worker.shard) }
        // More pieces are on their way.
        if correlation == 0 { return }
        let header = PeerHeader(
            kind: .roomsNoted,
            source: PeerAddress.supervisor,
            destination: UInt16(worker.shard),
            correlation: correlation,
            payloadLength: 0
        )
        worker.process?.stream.append(header, [])
    }

    /// Notes all rooms of a worker that took over a shard, in pieces, of which `missing` are still to come.
    ///
    /// Until the last piece has arrived, the rooms of the previous worker remain, so that no publish is lost between
    /// two pieces.
    func noteAll(_ changes: RoomChanges, from worker: WorkerProcess, missing: UInt64) {
        guard let process = worker.process else { return }
        process.roomsToldSoFar += changes.changes
        if missing > 0 { return }
        interest.forget(shard: worker.shard)
        for change in process.roomsToldSoFar { interest.note(change, shard: worker.shard) }
        process.roomsToldSoFar = []
    }

    /// Returns the shards for a publish to a room: those where it has members, and those that may know the answer.
    func shards(of room: Room, _ request: Request, _ now: UInt64) -> [Int] {
        // A lone shard does not report its rooms.
        if workers.count == 1 { return [0] }
        let members = interest.shards(of: room)
        if request.key == nil || now >= isRemindedUntil || (members.isEmpty && threadReachesUser) { return members }
        return workers.indices.filter { members.contains($0) || workers[$0].state.takesRequests }
    }

    /// Handles a publish to a room without members: the id of a thread is tried as a user's, a job has no watchers.
    func sendToEmpty(
        _ room: Room,
        _ request: Request,
        text: Span<UInt8>,
        _ key: PendingRequests.Key,
        now: UInt64
    ) {
        guard room.kind == .thread, threadReachesUser else {
            return answer(.init(key: key, reply: .receipt(Delivery())))
        }
        let asUser = Request(.sendToUser(room.id), key: request.key)
        let owner = workers[map.shard(ofUser: room.id)]
        send(asUser, text: text, key, to: [owner], mode: .receipts, now: now)
    }
}
