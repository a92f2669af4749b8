// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// Asks a keeper for the sockets that it holds.
struct KeeperReader {
    /// How many descriptors this process needs besides those of its clients.
    static let reserve = 64
    /// How long the keeper may take for its next message, in milliseconds.
    private static let patience: Int32 = 5000

    let estate: KeeperChannel

    /// Asks how many sockets there are at most.
    ///
    /// Messages that a previous heir had asked for and not taken come first.
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

    /// Passes all sockets to `take`, some at a time; it owns them then.
    func sockets(_ take: ([Int32]) -> Void) throws {
        guard estate.askSockets() else { throw TakeOverProblem("the keeper cannot be asked") }
        var received = 0
        while true {
            switch try next() {
            case .sockets(let descriptors):
                received += descriptors.count
                take(descriptors)
            case .end(let sent):
                guard sent == received else { throw TakeOverProblem("\(received) of \(sent) sockets arrived") }
                return
            case .born, .count: continue
            case nil: throw TakeOverProblem("the keeper does not answer")
            }
        }
    }

    private func next() throws -> KeeperChannel.Word? {
        let word = try estate.wait(milliseconds: Self.patience)
        if estate.lost { throw TakeOverProblem("the descriptor table is full") }
        return word
    }
}
