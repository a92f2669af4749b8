internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// What a worker takes over from the one before it: slots of the arena, and the sockets that belong to them.
///
/// Collecting changes nothing, neither in the arena nor at the sockets, so that it can be given up at any time before the
/// supervisor commits.
final class Inheritance {
    private let arena: Arena
    private let estate: Estate
    private let limit: Int
    /// By slot: the socket, and where its streams stand.
    private(set) var sockets: [Int: (descriptor: Int32, positions: StreamPositions)] = [:]
    /// Slots whose connections were over before anybody took them.
    private(set) var over: Set<Int> = []
    /// Slots to whose clients nothing is on its way: all that was written is recorded, and nothing waits.
    private(set) var quiet: Set<Int> = []
    /// Sockets that belong to no slot: backends', and clients' whose upgrade was not answered.
    private(set) var strangers: [Int32] = []

    /// `limit`: the most descriptors that this process may have.
    init(arena: Arena, limit: Int) {
        self.arena = arena
        self.limit = limit
        estate = Estate(owning: BirthContract.Descriptor.estate)
    }

    /// Takes the sockets, and ties them to slots.
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
        guard count <= room else { throw TakeOverProblem("\(count) sockets, and room for \(room) descriptors") }
        CurrentProcess.reserveDescriptors(CurrentProcess.openDescriptors + count)
        var received: [Int32] = []
        received.reserveCapacity(count)
        try keeper.sockets { received += $0 }
        return received
    }
}

/// Why nothing can be taken over.
struct TakeOverProblem: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Asks a keeper for what it holds.
struct KeeperReader {
    /// Descriptors that this process needs beside its clients'.
    static let reserve = 64
    /// How long the keeper may take for its next word, in milliseconds.
    private static let patience: Int32 = 5000

    let estate: Estate

    /// How many sockets there are at most.
    ///
    /// What an heir before us had asked for and not taken comes first.
    func count() throws -> Int {
        guard estate.askCount() else { throw TakeOverProblem("the keeper cannot be asked") }
        while true {
            switch try next() {
            case .count(let count): return count
            case .sockets(let descriptors): descriptors.forEach(closeDescriptor)
            case .born, .end: continue
            case nil: throw TakeOverProblem("the keeper does not answer")
            }
        }
    }

    /// Hands over all sockets, some at a time; whoever takes them owns them.
    func sockets(_ take: ([Int32]) -> Void) throws {
        guard estate.askSockets() else { throw TakeOverProblem("the keeper cannot be asked") }
        var received = 0
        while true {
            switch try next() {
            case .sockets(let descriptors):
                received += descriptors.count
                take(descriptors)
            case .end(let sent):
                guard sent == received else { throw TakeOverProblem("\(received) of \(sent) sockets came") }
                return
            case .born, .count: continue
            case nil: throw TakeOverProblem("the keeper does not answer")
            }
        }
    }

    private func next() throws -> Estate.Word? {
        let word = try estate.wait(milliseconds: Self.patience)
        if estate.lost { throw TakeOverProblem("the descriptor table is full") }
        return word
    }
}
