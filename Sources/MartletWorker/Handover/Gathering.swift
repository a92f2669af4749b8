// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// What a worker takes from all previous workers when the number of shards changes: the connections of its own users.
///
/// The connections are copied into our own arena, and nothing is changed in the others, so that the change can be given
/// up at any time before the supervisor commits.
final class Gathering {
    private struct Source {
        let arena: Arena
        let estate: KeeperChannel
        /// The mapping that keeps the arena's memory.
        let memory: SharedMapping
    }

    private let shard: Int
    private let map: ShardMap
    private let arena: Arena
    private let board: NodeBoard
    private let limit: Int
    /// The most connections that we may take from all previous workers together.
    private let most: Int
    private let limits: ArenaImport.Limits
    private let sources: [Source]
    private let sourceBoard: NodeBoard
    private let sourceBoardMemory: SharedMapping
    /// Sockets by slot, for which nothing was copied yet.
    private var uncopied: [(source: Arena, sockets: [Int: Int32])] = []
    /// What was copied, or why that failed.
    private(set) var outcome = Adoption()
    /// The connections that were taken: slots of our arena, and their sockets.
    private(set) var taken: [(slot: Int, descriptor: Int32)] = []
    /// The slots of our arena with sessions that wait for their clients.
    private(set) var waiting: [Int] = []
    /// Our users that were bound to threads.
    private(set) var bindings: [(user: String, thread: String)] = []
    /// How many of our connections were over before they could be taken.
    private(set) var over = 0
    /// Sockets of ours whose slots are inconsistent; they are closed once the shards are ours.
    private(set) var refused: [(descriptor: Int32, isQuiet: Bool, isStream: Bool)] = []

    init(_ contract: BirthContract, arena: Arena, board: NodeBoard, _ budget: DescriptorBudget) throws {
        shard = Int(contract.shard)
        map = contract.map
        self.arena = arena
        self.board = board
        limit = budget.limit
        most = budget.sockets
        limits = ArenaImport.Limits(
            messageBytes: Int(contract.client.maxMessageBytes),
            queueBytes: Int(contract.client.queueBytes),
            resumeBytes: Int(contract.client.resumeBytes),
            allowsEchoes: contract.isDevelopment
        )
        sourceBoardMemory = SharedMapping(try MemoryMapping(of: BirthContract.Descriptor.sourceBoard))
        sourceBoard = unsafe try NodeBoard(sourceBoardMemory.mapping.bytes, shards: Int(contract.sources))
        sources = try (0..<Int(contract.sources)).map { number in
            let (arena, estate) = contract.source(number)
            let memory = SharedMapping(try MemoryMapping(of: arena))
            return Source(
                arena: unsafe try Arena(adopting: memory.mapping.bytes, isSource: true) { _, _ in },
                estate: KeeperChannel(owning: estate),
                memory: memory
            )
        }
    }

    /// Takes the sockets of our users from one of the previous workers.
    func collect(from number: Int) -> Adoption {
        var found = Adoption()
        do {
            guard sources.indices.contains(number) else { throw TakeOverProblem("there is no such worker") }
            let sockets = try collect(sources[number])
            found.kept = sockets.count
            uncopied.append((sources[number].arena, sockets))
        } catch {
            found.problem = "\(error)"
        }
        return found
    }

    /// Copies the slots of the sockets that were taken, and what is remembered about our users.
    func copy(into record: ShardRecord) {
        while let (source, sockets) = uncopied.popLast() {
            do {
                try take(sockets, from: source)
                bindings += try record.gather(from: source, isFirst: shard == 0) { map.shard(ofUserSlot: $0) == shard }
            } catch {
                outcome.problem = "\(error)"
            }
        }
        outcome.kept = taken.count
        outcome.lost = refused.count
    }

    private func collect(_ source: Source) throws -> [Int: Int32] {
        var slots: [UInt64: Int] = [:]
        for occupied in source.arena.occupied {
            guard map.shard(ofUserSlot: Int(source.arena.slot(occupied.slot).userSlot)) == shard else { continue }
            slots[occupied.cookie] = occupied.slot
        }
        let room = limit - CurrentProcess.openDescriptors - 2 * KeeperReader.reserve - KeeperChannel.mostAtOnce
        guard slots.count <= room else {
            throw TakeOverProblem("\(slots.count) sockets, but room for only \(room) descriptors")
        }
        let sum = uncopied.reduce(slots.count) { $0 + $1.sockets.count }
        guard sum <= most else { throw TakeOverProblem("\(sum) connections, but a worker may have only \(most)") }
        CurrentProcess.reserveDescriptors(limit - room + slots.count)
        let keeper = KeeperReader(estate: source.estate)
        _ = try keeper.count()
        var sockets: [Int: Int32] = [:]
        try keeper.sockets { descriptors in
            for descriptor in descriptors {
                if let slot = slots[StreamSocket.cookie(descriptor)] {
                    sockets[slot] = descriptor
                } else {
                    closeDescriptor(descriptor)
                }
            }
        }
        guard sockets.count == slots.count else {
            throw TakeOverProblem("\(sockets.count) of \(slots.count) connections have sockets")
        }
        return sockets
    }

    private func take(_ sockets: [Int: Int32], from source: Arena) throws {
        let copies = ArenaImport(from: source, to: arena, limits: limits) { [map, shard] in
            map.shard(ofUserSlot: $0) == shard
        }
        defer { copies.finish() }
        for (slot, descriptor) in sockets {
            guard let stream = KernelStream(of: descriptor), !stream.isOver else {
                over += 1
                closeDescriptor(descriptor)
                takeSession(slot, copies)
                continue
            }
            let positions = StreamPositions(written: stream.written, read: stream.read)
            let copy: Int?
            do throws(ArenaError) {
                copy = try copies.copy(slot, positions, place: place)
            } catch {
                // One connection that cannot go on does not prevent the others from going on.
                let isStream = source.slot(slot).flags.contains(.events)
                refused.append((descriptor, source.isQuiet(slot, positions), isStream))
                continue
            }
            guard let copy else { throw TakeOverProblem("the shared memory is full") }
            _ = board.openConnection(shard: shard, limit: .max)
            taken.append((copy, descriptor))
        }
        for slot in source.waitingSlots where map.shard(ofUserSlot: Int(source.slot(slot).userSlot)) == shard {
            takeSession(slot, copies)
        }
    }

    /// Takes a session without a socket; one that is inconsistent, or has no room, has ended.
    private func takeSession(_ slot: Int, _ copies: ArenaImport) {
        let copy = try? copies.copySession(slot, now: Clock.monotonicNanoseconds())
        if let copy = copy ?? nil { waiting.append(copy) }
    }

    /// Returns the place where our board counts an address that the previous board counted.
    ///
    /// There is no limit here: it applies to new connections, not to existing ones.
    private func place(of old: Int) -> Int {
        guard let address = sourceBoard.address(at: old) else { return -1 }
        return board.openAddress(address, shard: shard, limit: .max) ?? -1
    }
}
