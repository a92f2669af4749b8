// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The node's board as the supervisor holds it: the memory that workers get, and the supervisor's own view of it.
final class Board {
    let memory: OwnedDescriptor
    /// The key of the hash by which addresses are counted.
    let addressKey: UInt64
    private let mapping: MemoryMapping
    private let board: NodeBoard

    init(shards: Int, limits: Configuration.Limits, addressKey: UInt64 = CurrentProcess.random()) throws {
        self.addressKey = addressKey
        let places = NodeBoard.places(connections: limits.connections, perAddress: limits.connectionsPerAddress)
        let byteCount = NodeBoard.byteCount(shards: shards, places: places)
        memory = try SharedMemory.fixed(name: "martlet-board", byteCount: byteCount)
        mapping = try MemoryMapping(of: memory.number)
        board = unsafe try NodeBoard(formatting: mapping.bytes, shards: shards, places: places)
    }

    /// Throws if a board that a previous supervisor has made cannot be adopted; changes and owns nothing.
    static func check(_ descriptor: Int32, shards: Int) throws {
        let mapping = try MemoryMapping(of: descriptor)
        _ = unsafe try NodeBoard(mapping.bytes, shards: shards)
    }

    /// Adopts a board that a previous supervisor has made.
    init(adopting descriptor: Int32, shards: Int, addressKey: UInt64) throws {
        self.addressKey = addressKey
        memory = OwnedDescriptor(owning: descriptor)
        mapping = try MemoryMapping(of: descriptor)
        board = unsafe try NodeBoard(mapping.bytes, shards: shards)
    }

    /// Clears the counts of a shard whose worker has died, and its connections with it.
    func clear(shard: Int) { board.clear(shard: shard) }
}
