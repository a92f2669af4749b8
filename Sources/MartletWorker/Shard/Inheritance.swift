internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// What a worker takes over from the one before it: slots of the arena, and the sockets that belong to them.
///
/// Collecting changes nothing, neither in the arena nor at the sockets, so that it can be given up at any time before the
/// supervisor commits.
final class Inheritance {
    /// Descriptors that this process needs beside its clients'.
    private static let reserve = 64
    /// How long the keeper may take for its next word.
    private static let patience: Int32 = 5000

    private let arena: Arena
    private let estate: Estate
    private let limit: Int
    /// By slot: the socket, and where its streams stand.
    private(set) var sockets: [Int: (descriptor: Int32, positions: StreamPositions)] = [:]
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
                let positions = StreamPositions(written: stream.written, read: stream.read)
                sockets[occupied.slot] = (descriptor, positions)
                if (try? arena.check(occupied.slot, positions)) != nil { found.kept += 1 } else { found.lost += 1 }
            }
            strangers = Array(byCookie.values)
        } catch {
            found.problem = "\(error)"
        }
        return found
    }

    private func receiveAll() throws -> [Int32] {
        guard estate.askCount() else { throw Problem("the keeper cannot be asked") }
        let count = try nextCount()
        let room = limit - CurrentProcess.openDescriptors - Self.reserve
        guard count <= room else { throw Problem("\(count) sockets, and room for \(room) descriptors") }
        guard estate.askSockets() else { throw Problem("the keeper cannot be asked") }
        var received: [Int32] = []
        received.reserveCapacity(count)
        while true {
            switch try next() {
            case .sockets(let descriptors): received += descriptors
            case .end(let sent):
                guard sent == received.count else { throw Problem("\(received.count) of \(sent) sockets came") }
                return received
            case .born, .count: continue
            case nil: throw Problem("the keeper does not answer")
            }
        }
    }

    /// The answer to our question; what an heir before us had asked for and not taken comes first.
    private func nextCount() throws -> Int {
        while true {
            switch try next() {
            case .count(let count): return count
            case .sockets(let descriptors): descriptors.forEach(closeDescriptor)
            case .born, .end: continue
            case nil: throw Problem("the keeper does not answer")
            }
        }
    }

    private func next() throws -> Estate.Word? {
        let word = try estate.wait(milliseconds: Self.patience)
        if estate.lost { throw Problem("the descriptor table is full") }
        return word
    }

    private struct Problem: Error, CustomStringConvertible {
        let description: String

        init(_ description: String) { self.description = description }
    }
}
