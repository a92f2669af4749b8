// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// The next program of this process goes on with what the switchboard knows.

extension Switchboard {
    /// True if no request to a shard waits for an answer.
    var isIdle: Bool { pending.count == 0 }

    /// What the next program needs to go on when nothing is under way (``isIdle``): what is held, known and remembered.
    var saved: [UInt8] {
        var writer = ByteWriter()
        for number in [refused, rerouted] { writer.put(Int64(number)) }
        writer.put(nextCorrelation)
        writer.put(UInt32(repeats.remembered.count))
        for (key, fingerprint, reply, expiry) in repeats.remembered {
            writer.put(key)
            writer.put(fingerprint)
            writer.put(CommandCoding.encode(reply))
            writer.put(expiry)
        }
        writer.put(UInt32(interest.rooms.count))
        for (room, shards) in interest.rooms {
            writer.put(room)
            writer.put(shards)
        }
        let held = holding?.requests ?? []
        writer.put(UInt32(held.count))
        for (header, payload) in held {
            var bytes: [UInt8] = []
            header.write(to: &bytes)
            writer.put(bytes)
            writer.put(payload)
        }
        return writer.bytes
    }

    /// Throws if what another program has ``saved`` cannot be read.
    static func check(_ saved: [UInt8]) throws(WireError) {
        let roster = Roster([], ShardMap(shardCount: 1))
        try Switchboard(roster: roster, holdBytes: .max, startedAt: 0, descriptorLimit: 1).restore(saved, now: 0)
    }

    /// Goes on with what the previous program has ``saved``; requests that are held remain so until ``release(now:)``.
    func restore(_ saved: [UInt8], now: UInt64) throws(WireError) {
        var reader = ByteReader(saved)
        refused = Int(try reader.integer(Int64.self))
        rerouted = Int(try reader.integer(Int64.self))
        nextCorrelation = try reader.integer()
        for _ in 0..<(try reader.count(ofAtLeast: 24)) {
            let (key, fingerprint) = (try reader.text(), try reader.integer(UInt64.self))
            let raw = try reader.raw(limit: 65536)
            let reply = try CommandCoding.decodeReply(raw, in: 0..<raw.count)
            repeats.restore(key, fingerprint: fingerprint, reply, expiry: try reader.integer())
        }
        for _ in 0..<(try reader.count(ofAtLeast: 20)) {
            let room = try reader.room()
            interest.note(room, shards: try reader.integer())
        }
        hold()
        for _ in 0..<(try reader.count(ofAtLeast: 8)) {
            let head = try reader.raw(limit: PeerHeader.length)
            let payload = try reader.raw(limit: PeerHeader.largestPayload)
            guard let header = try PeerHeader.parse(head, at: 0) else { throw .truncated }
            _ = holding?.add(header, payload, now: now)
        }
        try reader.finish()
    }

    /// Refuses everything that is held, because it will not be asked any more.
    func refuseHeld() {
        let held = holding?.requests ?? []
        holding = nil
        for (header, _) in held {
            let key = PendingRequests.Key(source: header.source, correlation: header.correlation)
            answer(.init(key: key, reply: .failed(.shardUnavailable(partial: nil))))
        }
    }

    /// Refuses held requests of operators, because their connections end.
    func refuseHeldOfOperators() {
        for key in holding?.removeAll(from: PeerAddress.supervisor) ?? [] {
            answer(.init(key: key, reply: .failed(.shardUnavailable(partial: nil))))
        }
    }
}
