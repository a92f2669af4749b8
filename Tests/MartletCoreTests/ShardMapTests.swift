// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

@Suite struct ShardMapTests {
    /// Values that Python computes as `zlib.crc32(user.encode()) % 1024`.
    @Test(arguments: [
        ("", 0), ("alice", 71), ("user42", 694), ("用户1", 892), ("مستخدم3", 141), ("a b/c?d", 88),
    ])
    func `a user's slot is the CRC-32 that other programs compute`(user: String, slot: Int) {
        #expect(ShardMap.userSlot(of: user) == slot)
    }

    @Test(arguments: [1, 2, 3, 7, 128])
    func `every slot has an owner, and the shards' numbers of slots differ by at most one`(shards: Int) {
        let map = ShardMap(shardCount: shards)
        let counts = Dictionary(grouping: map.owners) { $0 }.mapValues(\.count)
        #expect(map.owners.count == 1024)
        #expect(counts.count == shards)
        #expect((counts.values.max() ?? 0) - (counts.values.min() ?? 0) <= 1)
        #expect(map.shardCount == shards)
    }

    @Test func `ids that count upwards spread evenly over two shards`() {
        let map = ShardMap(shardCount: 2)
        for prefix in ["u", "user", "user-", ""] {
            let first = (0..<1000).count { map.shard(ofUser: "\(prefix)\($0)") == 0 }
            #expect((450...550).contains(first), "\(prefix): \(first) of 1,000")
        }
    }
}

@Suite struct ConnectionIDTests {
    @Test func `an id carries its user's slot, whatever its random part`() {
        for slot in [0, 1, 511, 1023] {
            for random in [0, 1, UInt64.max, 0x0123_4567_89AB_CDEF] {
                let id = ConnectionID(userSlot: slot, random: random)
                #expect(id.userSlot == slot)
                #expect(id.text.utf8.count == 15)
            }
        }
    }

    @Test func `different random parts make different ids`() {
        let ids = Set((0..<10_000).map { ConnectionID(userSlot: 5, random: UInt64($0) &* 0x9E37_79B9_7F4A_7C15).text })
        #expect(ids.count == 10_000)
    }

    @Test(arguments: ["", "conn_123", "0123456789abcde0", "zzzzzzzzzzzzzz!", "zzzzzzzzzzzzzzz"])
    func `text that no server made has no slot`(text: String) {
        #expect(ConnectionID(text).userSlot == nil)
    }
}
