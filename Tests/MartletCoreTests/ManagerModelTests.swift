// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

/// Sockets that only count.
private final class CountingTransport: Transport {
    var sent = 0

    func prepare(_ text: Span<UInt8>) throws(SendFailure) -> PreparedFrame { PreparedFrame(reference: 1, byteCount: 1) }
    func release(_ frame: PreparedFrame) {}
    func send(_ frame: PreparedFrame, to handle: Int) -> SendOutcome {
        sent += 1
        return .queued
    }
    func close(_ handle: Int, code: UInt16, reason: String) {}
    func isOpen(_ handle: Int) -> Bool { true }
    func queuedBytes(_ handle: Int) -> Int { 0 }
}

/// The simplest possible manager, with which the real one must agree.
private struct Model {
    var userOf: [String: String] = [:]
    var joined: [String: Set<Room>] = [:]
    var bound: [String: Set<Room>] = [:]

    mutating func remove(_ id: String) -> String? {
        joined[id] = nil
        return userOf.removeValue(forKey: id)
    }

    func count(in room: Room) -> Int {
        userOf.count { id, user in joined[id]?.contains(room) == true || bound[user]?.contains(room) == true }
    }

    var rooms: Set<Room> {
        joined.values.reduce(into: bound.values.reduce(into: Set<Room>()) { $0.formUnion($1) }) { $0.formUnion($1) }
    }
}

@Suite struct ManagerModelTests {
    @Test func `200,000 random operations agree with a simple model, all indexes compared`() async throws {
        let transport = CountingTransport()
        nonisolated(unsafe) let unsafeTransport: any Transport = transport
        var limits = WebSocketManager.Limits()
        limits.recordsRoomChanges = true
        let manager = WebSocketManager(executor: SerialQueue(), transport: unsafeTransport, limits: limits)
        try await manager.perform { manager in try Self.run(200_000, manager) }
    }

    private static func run(_ steps: Int, _ manager: isolated WebSocketManager) throws {
        var model = Model()
        var occupied: Set<Room> = []
        var generator = SplitMix(state: 20_261_123)
        func pick(_ count: UInt64) -> UInt64 { generator.next() % count }
        for step in 0..<steps {
            let id = "c\(pick(120))"
            let user = "u\(pick(25))"
            let room = Room(pick(2) == 0 ? .thread : .job, "r\(pick(12))")
            switch pick(8) {
            case 0, 1:
                manager.add(id, user: user, handle: step)
                _ = model.remove(id)
                model.userOf[id] = user
            case 2:
                try require(manager.remove(ConnectionID(id))?.user == model.remove(id), step)
            case 3:
                let isKnown = model.userOf[id] != nil
                let isNew = isKnown && model.joined[id, default: []].insert(room).inserted
                let expected: RoomEntry = !isKnown ? .unknown : isNew ? .joined : .alreadyThere
                try require(manager.join(room, connection: ConnectionID(id)) == expected, step)
            case 4:
                let expected = model.userOf[id] != nil && model.joined[id]?.remove(room) != nil
                try require(manager.leave(room, connection: ConnectionID(id)) == expected, step)
            case 5:
                let thread = Room.thread(room.id)
                if pick(3) == 0 {
                    let isNew = model.bound[user, default: []].insert(thread).inserted
                    try require(manager.bind(user: user, toThread: room.id) == (isNew ? .joined : .alreadyThere), step)
                } else {
                    let expected = model.bound[user]?.remove(thread) != nil
                    try require(manager.unbind(user: user, fromThread: room.id) == expected, step)
                }
            case 6:
                try require(try manager.send("1", toRoom: room).delivered == model.count(in: room), step)
            default:
                let expected = model.userOf.values.count { $0 == user }
                if pick(10) == 0 {
                    try require(manager.disconnect(user: user, code: 1000, reason: "") == expected, step)
                    for id in model.userOf.filter({ $0.value == user }).keys { _ = model.remove(id) }
                } else {
                    try require(try manager.send("1", toUser: user).delivered == expected, step)
                }
            }
            if step < 3000 { try require(manager.inconsistencies == [], step) }
            if step % 20_000 == 0 || step == steps - 1 { try compare(manager, model, &occupied, step) }
        }
    }

    /// Compares the whole state, and what the switchboard would have been told about it.
    private static func compare(
        _ manager: isolated WebSocketManager,
        _ model: Model,
        _ occupied: inout Set<Room>,
        _ step: Int
    ) throws {
        try require(manager.inconsistencies == [], step)
        let counts = Dictionary(grouping: model.userOf.values.map { ExactText($0) }) { $0 }.mapValues(\.count)
        let statistics = manager.statistics(byUser: true)
        try require(statistics.connectionsByUser == counts, step)
        try require(statistics.connections == model.userOf.count, step)
        let rooms = model.rooms
        try require(Set(manager.rooms) == rooms, step)
        try require(statistics.threads == rooms.count { $0.kind == .thread }, step)
        for change in manager.takeRoomChanges() {
            let isChanged =
                change.isOccupied ? occupied.insert(change.room).inserted : occupied.remove(change.room) != nil
            try require(isChanged, step)
        }
        try require(occupied == rooms, step)
    }

    private struct Disagreement: Error { let step: Int }

    private static func require(_ isSo: Bool, _ step: Int) throws {
        if !isSo { throw Disagreement(step: step) }
    }
}
