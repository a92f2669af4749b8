// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import MartletCore

@Suite struct PlaceTableTests {
    /// What a table holds is found, and nothing else, whatever is added and removed, and however hashes collide.
    @Test(arguments: [1, 3, 16, 1 << 40])
    func `a table agrees with a dictionary through any additions and removals`(hashes: Int) {
        for seed in 0..<20 {
            var generator = Steady(state: UInt64(seed))
            var table = PlaceTable()
            var keys: [Int32: Int] = [:]
            func hash(_ key: Int) -> Int { (key &* 0x9E37_79B9 ^ seed) % hashes }
            for step in 0..<400 {
                let place = Int32.random(in: 0..<60, using: &generator)
                if let key = keys[place] {
                    if step % 3 == 0 {
                        table.remove(place, hash: hash(key)) { hash(keys[$0] ?? -1) }
                        keys[place] = nil
                    } else if let free = (Int32(0)..<60).first(where: { keys[$0] == nil }) {
                        table.replace(place, by: free, hash: hash(key))
                        keys[place] = nil
                        keys[free] = key
                    }
                } else {
                    let key = Int(place) * 1000 + step
                    keys[place] = key
                    table.insert(place, hash: hash(key)) { hash(keys[$0] ?? -1) }
                }
                #expect(table.count == keys.count && table.isEmpty == keys.isEmpty)
                for (place, key) in keys {
                    #expect(table.find(hash: hash(key)) { keys[$0] == key } == place, "step \(step) of \(seed)")
                }
                #expect(table.find(hash: hash(-7)) { keys[$0] == -7 } == nil)
            }
        }
    }

    /// Numbers that look random, and are the same in every run (Knuth's linear congruential generator, MMIX).
    private struct Steady: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
    }

    @Test func `an empty table has nothing`() {
        let table = PlaceTable()
        #expect(table.find(hash: 5) { _ in true } == nil)
    }
}
