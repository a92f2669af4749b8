internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// What a worker of a new number of shards takes from the workers before: of each, the connections of its own users.
///
/// Collecting copies into our own arena and changes nothing in theirs, so that it can be given up at any time before the
/// supervisor commits.
final class Gathering {
    private struct Source {
        let arena: Arena
        let estate: Estate
        /// Keeps the arena's memory.
        let memory: SharedMapping
    }

    private let shard: Int
    private let map: ShardMap
    private let arena: Arena
    private let board: NodeBoard
    private let limit: Int
    private let sources: [Source]
    private let sourceBoard: NodeBoard
    private let sourceBoardMemory: SharedMapping
    /// What was taken: slots of our arena, and their sockets.
    private(set) var taken: [(slot: Int, descriptor: Int32)] = []
    /// Users of ours that were bound to threads.
    private(set) var bindings: [(user: String, thread: String)] = []
    /// Connections of ours that were over before they could be taken.
    private(set) var over = 0

    /// `limit`: the most descriptors that this process may have.
    init(_ contract: BirthContract, arena: Arena, board: NodeBoard, limit: Int) throws {
        shard = Int(contract.shard)
        map = contract.map
        self.arena = arena
        self.board = board
        self.limit = limit
        sourceBoardMemory = SharedMapping(try MemoryMapping(of: BirthContract.Descriptor.sourceBoard))
        sourceBoard = unsafe try NodeBoard(sourceBoardMemory.mapping.bytes)
        sources = try (0..<Int(contract.sources)).map { number in
            let (arena, estate) = contract.source(number)
            let memory = SharedMapping(try MemoryMapping(of: arena))
            return Source(
                arena: unsafe try Arena(adopting: memory.mapping.bytes) { _, _ in },
                estate: Estate(owning: estate),
                memory: memory
            )
        }
    }

    /// Takes what is ours from one of the workers before: connections, and what is remembered of their users.
    func collect(from number: Int, into record: ShardRecord) -> Adoption {
        var found = Adoption()
        do {
            guard sources.indices.contains(number) else { throw TakeOverProblem("there is no such worker") }
            found.kept = try collect(sources[number])
            bindings += record.gather(from: sources[number].arena) { map.shard(ofSlot: $0) == shard }
        } catch {
            found.problem = "\(error)"
        }
        return found
    }

    private func collect(_ source: Source) throws -> Int {
        var slots: [UInt64: Int] = [:]
        for occupied in source.arena.occupied {
            guard map.shard(ofSlot: Int(source.arena.slot(occupied.slot).userSlot)) == shard else { continue }
            slots[occupied.cookie] = occupied.slot
        }
        let room = limit - CurrentProcess.openDescriptors - 2 * KeeperReader.reserve - Estate.mostAtOnce
        guard slots.count <= room else {
            throw TakeOverProblem("\(slots.count) sockets, and room for \(room) descriptors")
        }
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
        return try take(sockets, from: source.arena)
    }

    private func take(_ sockets: [Int: Int32], from source: Arena) throws -> Int {
        let copies = ArenaImport(from: source, to: arena)
        defer { copies.finish() }
        var count = 0
        for (slot, descriptor) in sockets {
            guard let stream = KernelStream(of: descriptor), !stream.isOver else {
                over += 1
                closeDescriptor(descriptor)
                continue
            }
            let positions = StreamPositions(written: stream.written, read: stream.read)
            guard let copy = try copies.copy(slot, positions, place: place) else {
                throw TakeOverProblem("the shared memory is full")
            }
            _ = board.openConnection(shard: shard, limit: .max)
            taken.append((copy, descriptor))
            count += 1
        }
        return count
    }

    /// Where our board counts an address that the board before counted; a limit holds for who comes, not for who is here.
    private func place(of old: Int) -> Int {
        guard let address = sourceBoard.address(at: old) else { return -1 }
        return board.openAddress(address, shard: shard, limit: .max) ?? -1
    }
}
