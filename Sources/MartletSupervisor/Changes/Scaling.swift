// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// A change of the number of shards that is under way.
final class Scaling {
    var steps: Resharding
    let heirs: [WorkerProcess]
    let map: ShardMap
    let board: Board
    let respond: (String?) -> Void
    /// Whether the heirs have the shards; some of them may not serve yet.
    var isCommitted = false

    init(
        _ steps: Resharding,
        _ heirs: [WorkerProcess],
        map: ShardMap,
        board: Board,
        _ respond: @escaping (String?) -> Void
    ) {
        self.steps = steps
        self.heirs = heirs
        self.map = map
        self.board = board
        self.respond = respond
    }

    /// The board that the heirs share, before they have their shards.
    var uncommittedBoard: Int32? { isCommitted ? nil : board.memory.number }

    var deadline: UInt64? { isCommitted ? nil : steps.deadline }

    /// Returns the number of a worker among the heirs; nil if it is not one, or already has its shard.
    func number(of worker: WorkerProcess) -> Int? {
        isCommitted ? nil : heirs.firstIndex { $0 === worker }
    }

    func map(of worker: WorkerProcess) -> ShardMap? { number(of: worker) == nil ? nil : map }
    func board(of worker: WorkerProcess) -> Board? { number(of: worker) == nil ? nil : board }
}
