// SPDX-License-Identifier: Apache-2.0

/// Finds places of another table by a key that the things there hold themselves: four bytes for each, instead of a copy of the key.
///
/// It is a hash table with open addressing and linear probing (Knuth, The Art of Computer Programming, 6.4, algorithms L and R).
/// The owner hashes keys, and compares them. It must use a keyed hash, because clients choose keys.
struct PlaceTable {
    private static let vacant: Int32 = -1
    private static let least = 16

    private var places: [Int32] = []
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// Returns the place with this hash for which `isMatch` is true; nil if there is none.
    func find(hash: Int, _ isMatch: (Int32) -> Bool) -> Int32? {
        index(hash: hash, isMatch).map { places[$0] }
    }

    /// Adds a place that is not in the table; `hashOf` hashes the key of a place that is.
    mutating func insert(_ place: Int32, hash: Int, _ hashOf: (Int32) -> Int) {
        // At most three quarters are in use, so that a search is short.
        if (count + 1) * 4 > places.count * 3 { grow(hashOf) }
        places[firstVacant(hash)] = place
        count += 1
    }

    /// Puts a place that has the same key into the place of another one.
    mutating func replace(_ old: Int32, by new: Int32, hash: Int) {
        guard let index = index(hash: hash, { $0 == old }) else { return }
        places[index] = new
    }

    /// Removes a place; `hashOf` hashes the key of any other that is in the table.
    mutating func remove(_ place: Int32, hash: Int, _ hashOf: (Int32) -> Int) {
        guard var hole = index(hash: hash, { $0 == place }) else { return }
        count -= 1
        let mask = places.count - 1
        var next = (hole + 1) & mask
        // Whoever would not be found any more, because a search ends at the hole, moves there.
        while places[next] != Self.vacant {
            let home = hashOf(places[next]) & mask
            if (next &- home) & mask >= (next &- hole) & mask {
                places[hole] = places[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        places[hole] = Self.vacant
    }

    private func index(hash: Int, _ isMatch: (Int32) -> Bool) -> Int? {
        guard !places.isEmpty else { return nil }
        let mask = places.count - 1
        var index = hash & mask
        while places[index] != Self.vacant {
            if isMatch(places[index]) { return index }
            index = (index + 1) & mask
        }
        return nil
    }

    private func firstVacant(_ hash: Int) -> Int {
        let mask = places.count - 1
        var index = hash & mask
        while places[index] != Self.vacant { index = (index + 1) & mask }
        return index
    }

    private mutating func grow(_ hashOf: (Int32) -> Int) {
        let old = places
        places = Array(repeating: Self.vacant, count: max(Self.least, 2 * old.count))
        for place in old where place != Self.vacant { places[firstVacant(hashOf(place))] = place }
    }
}
