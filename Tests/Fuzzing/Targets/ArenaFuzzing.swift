// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire

/// Whatever an arena contains, each connection is taken over as what it is, or refused.
enum ArenaFuzzing {
    private static let layout = ArenaLayout(slotCount: 8, pageCount: 4)
    private static let users = 4

    /// Memory that is formatted again for each run.
    private struct Memory {
        let bytes: UnsafeMutableRawBufferPointer

        init() {
            bytes = .allocate(byteCount: layout.byteCount, alignment: 4096)
            bytes.initializeMemory(as: UInt8.self, repeating: 0)
        }
    }

    nonisolated(unsafe) private static let source = Memory()
    nonisolated(unsafe) private static let target = Memory()

    private static func formatted(_ memory: Memory) -> Arena? {
        memory.bytes.initializeMemory(as: UInt8.self, repeating: 0)
        return try? Arena(formatting: memory.bytes, layout: layout, shard: 0, generation: 1) { _, _ in }
    }

    /// Makes an arena with some connections, which have frames in their queues, and writes the bytes into it.
    private static func damaged(_ choices: inout Choices) {
        guard let arena = formatted(source) else { return }
        for number in 0..<users {
            guard let index = arena.claimSlot() else { return }
            let slot = arena.slot(index)
            slot.cookie = UInt64(number + 1)
            slot.userSlot = UInt16(ShardMap.userSlot(of: "user-\(number)"))
            slot.received = .init(position: 1000)
            // The last two are sessions, and the last one waits.
            let isSession = number >= 2
            if isSession { slot.flags.insert(.session) }
            let identity = ArenaIdentity(
                connection: "user-\(number)",
                session: isSession ? SessionTokens(newest: .init(high: 1, low: 2)) : nil,
                bearer: Bearer(user: "user-\(number)"),
                rooms: [.thread("t")]
            )
            guard arena.setIdentity(identity, of: slot) else { return }
            slot.state = .open
            for _ in 0..<Int(choices.byte() & 15) {
                guard let frame = arena.makeFrame(90) else { break }
                _ = arena.append(frame, byteCount: 90, isCounted: isSession && choices.byte() & 3 > 0, to: slot)
                arena.release(frame)
            }
            if isSession {
                for _ in 0..<arena.queueCount(of: slot) / 2 { _ = arena.didSendFirst(of: slot) }
                if number == 3 { arena.beginWaiting(slot, since: 1) }
            }
        }
        let regions = [
            64..<288, layout.slotsOffset..<layout.slotsOffset + 8 * ArenaLayout.slotSize,
            layout.ringOffset..<layout.ringOffset + 640, layout.chunksOffset..<layout.chunksOffset + 8192,
        ]
        for _ in 0..<choices.byte() {
            let region = regions[Int(choices.byte() & 3)]
            let place = region.lowerBound + (Int(choices.byte()) << 8 | Int(choices.byte())) % region.count
            source.bytes[place] = choices.byte()
        }
    }

    private static func positions(_ arena: Arena, _ choices: inout Choices) -> [Int: StreamPositions] {
        var positions: [Int: StreamPositions] = [:]
        for occupied in arena.occupied where (1...UInt64(users)).contains(occupied.cookie) {
            positions[occupied.slot] = .init(written: UInt64(choices.byte()) * 4, read: 1000)
        }
        return positions
    }

    static func recover(_ bytes: [UInt8]) {
        var choices = Choices(bytes)
        damaged(&choices)
        guard let arena = try? Arena(adopting: source.bytes, discard: { _, _ in }) else { return }
        let recovery = arena.recover(positions(arena, &choices))
        for index in recovery.waiting {
            guard let identity = try? arena.identity(ofSlot: index), identity.session != nil else {
                fatalError("a session without an identity")
            }
            let slot = arena.slot(index)
            promise(
                arena.messages(after: slot.kept.messages, of: slot)?.isAhead == false,
                "a session that has not its own"
            )
            _ = arena.dropKept(of: slot, entries: 3, bytes: 300)
            promise(arena.entryCount(of: slot) <= 3, "\(arena.entryCount(of: slot)) entries")
            arena.vacate(index)
        }
        for index in recovery.slots {
            let slot = arena.slot(index)
            if slot.flags.contains(.session) {
                _ = arena.confirm(slot.kept.messages &+ 2, of: slot)
                if index & 1 == 0 { _ = arena.endSession(of: slot) }
            }
            guard let identity = try? arena.identity(ofSlot: index) else { fatalError("a slot without an identity") }
            promise(
                identity.connection == "user-\(arena.slot(index).cookie - 1)",
                "\(identity.connection) is shown as \(arena.slot(index).cookie)"
            )
            arena.vacate(index)
        }
        // Free memory can be used.
        for size in [1, 64, 1000, 5000] { if let chunk = arena.allocate(size) { arena.free(chunk) } }
    }

    static func copy(_ bytes: [UInt8]) {
        var choices = Choices(bytes)
        damaged(&choices)
        guard let from = try? Arena(adopting: source.bytes, discard: { _, _ in }), let into = formatted(target) else {
            return
        }
        let limits = ArenaImport.Limits(messageBytes: 1000, queueBytes: 10000, allowsEchoes: false)
        let copies = ArenaImport(from: from, to: into, limits: limits) { _ in true }
        var copied: [Int] = []
        for (index, position) in positions(from, &choices).sorted(by: { $0.key < $1.key }) {
            guard let slot = try? copies.copy(index, position, place: { _ in 0 }) else { continue }
            copied.append(slot)
        }
        for index in from.waitingSlots {
            guard let slot = try? copies.copySession(index, now: 5) else { continue }
            copied.append(slot)
        }
        copies.finish()
        for slot in copied {
            guard let identity = try? into.identity(ofSlot: slot) else { fatalError("a copy without an identity") }
            promise(
                ShardMap.userSlot(of: identity.bearer.user) == Int(into.slot(slot).userSlot),
                "\(identity.bearer.user) in slot \(into.slot(slot).userSlot)"
            )
            into.vacate(slot)
        }
        promise(into.chunkBytesInUse == 0, "\(into.chunkBytesInUse) bytes are nobody's")
    }
}
