// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// What a worker takes over from the previous one: slots of the arena, and the sockets that belong to them.
///
/// Collecting changes neither the arena nor the sockets, so that the take-over can be given up at any time before the
/// supervisor commits.
final class Inheritance {
    private let arena: Arena
    private let estate: KeeperChannel
    private let limit: Int
    /// The sockets by slot, and how far their streams have come.
    private(set) var sockets: [Int: (descriptor: Int32, positions: StreamPositions)] = [:]
    /// Slots whose connections were over before they were taken.
    private(set) var over: Set<Int> = []
    /// Slots to whose clients nothing is on its way: everything that was written is recorded, and nothing waits.
    private(set) var quiet: Set<Int> = []
    /// Sockets that were over, of sessions that go on without them.
    private(set) var broken: [Int32] = []
    /// Sockets that belong to no slot: those of backends, and those of clients whose upgrade was not answered.
    private(set) var strangers: [Int32] = []

    /// Prepares to take over; `limit` is the most descriptors that this process may have.
    init(arena: Arena, limit: Int) {
        self.arena = arena
        self.limit = limit
        estate = KeeperChannel(owning: BirthContract.Descriptor.estate)
    }

    /// Takes the sockets, and matches them with slots.
    func collect() -> Adoption {
        var found = Adoption()
        do {
            let received = try receiveAll()
            var byCookie: [UInt64: Int32] = [:]
            for descriptor in received { byCookie[StreamSocket.cookie(descriptor)] = descriptor }
            for occupied in arena.occupied {
                guard let descriptor = byCookie.removeValue(forKey: occupied.cookie),
                    let stream = KernelStream(of: descriptor)
                else {
                    found.lost += 1
                    continue
                }
                if stream.isOver, arena.slot(occupied.slot).state == .open,
                    (try? arena.checkSession(occupied.slot)) != nil
                {
                    // Its session waits from now on; what the kernel still says about such a socket does not add up.
                    broken.append(descriptor)
                    found.kept += 1
                    continue
                }
                if stream.isOver { over.insert(occupied.slot) }
                let positions = StreamPositions(written: stream.written, read: stream.read)
                sockets[occupied.slot] = (descriptor, positions)
                if arena.isQuiet(occupied.slot, positions) { quiet.insert(occupied.slot) }
                if (try? arena.check(occupied.slot, positions)) != nil {
                    found.kept += 1
                } else if !stream.isOver {
                    found.lost += 1
                }
            }
            strangers = Array(byCookie.values)
        } catch {
            found.problem = "\(error)"
        }
        return found
    }

    private func receiveAll() throws -> [Int32] {
        let keeper = KeeperReader(estate: estate)
        let count = try keeper.count()
        let room = limit - CurrentProcess.openDescriptors - KeeperReader.reserve
        guard count <= room else { throw TakeOverProblem("\(count) sockets, but room for only \(room) descriptors") }
        CurrentProcess.reserveDescriptors(CurrentProcess.openDescriptors + count)
        var received: [Int32] = []
        received.reserveCapacity(count)
        try keeper.sockets { received += $0 }
        return received
    }
}
