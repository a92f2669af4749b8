// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import MartletWire
import Testing

/// A board in memory that all its views share.
private final class BoardFixture: @unchecked Sendable {
    // Unchecked: the board's counts are atomic.
    private let memory: UnsafeMutableRawBufferPointer
    let board: NodeBoard

    init(shards: Int = 2, places: Int = 0) throws {
        memory = .allocate(byteCount: NodeBoard.byteCount(shards: shards, places: places), alignment: 4096)
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        _ = try NodeBoard(formatting: memory, shards: shards, places: places)
        board = try NodeBoard(memory, shards: shards)
    }

    /// Makes a board, and a function that changes the word of one of its places.
    static func withWords(places: Int) throws -> (BoardFixture, (_ place: Int, (UInt64) -> UInt64) -> Void) {
        let fixture = try BoardFixture(shards: 2, places: places)
        let words = fixture.memory.baseAddress.map { $0 + NodeBoard.byteCount(shards: 2, places: 0) }
        return (
            fixture,
            { place, change in
                guard let words else { return }
                let old = words.load(fromByteOffset: place * 8, as: UInt64.self)
                words.storeBytes(of: change(old), toByteOffset: place * 8, as: UInt64.self)
            }
        )
    }

    deinit { memory.deallocate() }
}

@Suite struct NodeBoardTests {
    @Test func `the node never has more connections than it may, however many threads open them`() async throws {
        let fixture = try BoardFixture(shards: 4)
        let admitted = await withTaskGroup(of: Int.self) { group in
            for shard in 0..<4 {
                group.addTask {
                    (0..<1000).count { _ in fixture.board.openConnection(shard: shard, limit: 700) }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(admitted <= 700 && fixture.board.connections == admitted)
        while fixture.board.openConnection(shard: 0, limit: 700) {}
        #expect(fixture.board.connections == 700, "and it can be filled")
        fixture.board.closeConnection(shard: 0)
        #expect(fixture.board.openConnection(shard: 3, limit: 700))
    }

    @Test func `a shard that died is cleared, and the others stay`() throws {
        let fixture = try BoardFixture(places: 1024)
        for _ in 0..<5 { #expect(fixture.board.openConnection(shard: 0, limit: 100)) }
        for _ in 0..<3 { #expect(fixture.board.openConnection(shard: 1, limit: 100)) }
        #expect(fixture.board.openAddress(77, shard: 0, limit: 5) != nil)
        #expect(fixture.board.openAddress(77, shard: 1, limit: 5) != nil)
        fixture.board.clear(shard: 0)
        #expect(fixture.board.connections == 3 && fixture.board.connections(from: 77) == 1)
    }

    @Test func `an address has no more connections than it may, over all shards`() throws {
        let fixture = try BoardFixture(places: 1024)
        var places: [Int] = []
        for number in 0..<10 {
            if let place = fixture.board.openAddress(42, shard: number % 2, limit: 4) { places.append(place) }
        }
        #expect(places.count == 4 && Set(places).count == 1)
        #expect(fixture.board.openAddress(43, shard: 0, limit: 4) != nil, "another address")
        fixture.board.closeAddress(at: places[0], shard: 1)
        #expect(fixture.board.openAddress(42, shard: 0, limit: 4) != nil)
    }

    @Test func `places of addresses that are gone are used again`() throws {
        let fixture = try BoardFixture(places: 1024)
        for address in 1...100_000 {
            let place = try #require(
                fixture.board.openAddress(UInt64(address) &* 0x9E37_79B9_7F4A_7C15, shard: 0, limit: 1)
            )
            fixture.board.closeAddress(at: place, shard: 0)
        }
    }

    @Test func `many threads that count one address agree, while its neighbours come and go`() async throws {
        for _ in 0..<8 {
            // There are as many places as are searched for an address, so that all addresses compete for all places.
            let fixture = try BoardFixture(shards: 8, places: 32)
            let admitted = await withTaskGroup(of: Int.self) { group in
                for shard in 0..<8 {
                    group.addTask {
                        (0..<2000).count { number in
                            let noise = fixture.board.openAddress(UInt64(number + 2), shard: shard, limit: 100)
                            defer { if let noise { fixture.board.closeAddress(at: noise, shard: shard) } }
                            return fixture.board.openAddress(1, shard: shard, limit: 50) != nil
                        }
                    }
                }
                return await group.reduce(0, +)
            }
            #expect(admitted <= 50 && fixture.board.connections(from: 1) == admitted)
        }
    }

    @Test func `no address is ever counted at the place of another one`() async throws {
        let fixture = try BoardFixture(shards: 4, places: 32)
        let strangers = await withTaskGroup(of: Int.self) { group in
            for shard in 0..<4 {
                group.addTask {
                    var strangers = 0
                    for number in 0..<15_000 {
                        // There are eighty addresses for 32 places.
                        let address = UInt64((number &* 7 &+ shard &* 13) % 80 + 1)
                        guard let place = fixture.board.openAddress(address, shard: shard, limit: 3) else { continue }
                        let isIts = fixture.board.address(at: place) == address
                        if !isIts || fixture.board.connections(from: address) < 1 { strangers += 1 }
                        fixture.board.closeAddress(at: place, shard: shard)
                    }
                    return strangers
                }
            }
            return await group.reduce(0, +)
        }
        #expect(strangers == 0)
        #expect((1...80).allSatisfy { fixture.board.connections(from: UInt64($0)) == 0 }, "and nothing is left behind")
    }

    @Test func `a place that a worker left in question is used by the next one`() throws {
        let (fixture, memory) = try BoardFixture.withWords(places: 32)
        let place = try #require(fixture.board.openAddress(5, shard: 0, limit: 3))
        memory(place) { $0 | 1 << 47 }
        #expect(fixture.board.connections(from: 5) == 1, "it still counts")
        #expect(fixture.board.openAddress(5, shard: 1, limit: 3) == place, "its own address settles it")
        for _ in 0..<2 { fixture.board.closeAddress(at: place, shard: 0) }
        fixture.board.restore(shard: 0, connections: 0, places: [:])
        fixture.board.restore(shard: 1, connections: 0, places: [:])
        memory(place) { $0 | 1 << 47 }
        for address in UInt64(100)..<132 { #expect(fixture.board.openAddress(address, shard: 0, limit: 3) != nil) }
        #expect(fixture.board.connections(from: 5) == 0)
    }

    @Test func `handshakes of all shards share one rate`() throws {
        let fixture = try BoardFixture()
        let limit = try #require(RateLimit(perSecond: 100, burst: 10))
        var admitted = 0
        for millisecond in UInt64(0)..<1000 {
            for _ in 0..<3 where fixture.board.admitHandshake(limit, now: 1_000_000_000 + millisecond * 1_000_000) {
                admitted += 1
            }
        }
        #expect((109...110).contains(admitted))
    }

    @Test func `whatever a worker writes into the board, the others continue to work`() throws {
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: NodeBoard.byteCount(shards: 3, places: 64),
            alignment: 4096
        )
        defer { memory.deallocate() }
        let limit = try #require(RateLimit(perSecond: 100, burst: 10))
        for pattern in [0xFF, 0x7F, 0x80, 0x01, 0x00] as [UInt8] {
            memory.initializeMemory(as: UInt8.self, repeating: 0)
            _ = try NodeBoard(formatting: memory, shards: 3, places: 64)
            for offset in 0..<memory.count { memory[offset] = pattern }
            let board = try NodeBoard(memory, shards: 3)
            _ = board.openConnection(shard: 0, limit: 100)
            board.closeConnection(shard: 0)
            board.closeConnection(shard: 0)
            for address in [1, 2, UInt64.max] {
                if let place = board.openAddress(address, shard: 1, limit: 5) {
                    board.closeAddress(at: place, shard: 1)
                    board.closeAddress(at: place, shard: 1)
                }
                _ = board.connections(from: address)
            }
            // A state of the rate that no clock can have produced is ignored.
            #expect(board.admitHandshake(limit, now: 1_000_000_000_000))
            board.restore(shard: 0, connections: 3, places: [:])
            board.clear(shard: 1)
            board.clear(shard: 2)
            #expect(board.connections == 3)
        }
    }

    @Test func `memory that is not a board is refused`() {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8192, alignment: 4096)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 7)
        #expect(throws: ArenaError.wrongSize) { _ = try NodeBoard(memory, shards: 2) }
        #expect(throws: ArenaError.wrongSize) { _ = try NodeBoard(memory, shards: 129) }
        #expect(throws: ArenaError.wrongSize) { _ = try NodeBoard(formatting: memory, shards: 128, places: 0) }
    }
}
