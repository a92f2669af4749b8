// SPDX-License-Identifier: Apache-2.0

/// What has arrived at each connection, in each sequence, and what was wrong with it.
struct Arrivals {
    private struct Place: Hashable {
        let connection: Int
        let sequence: NumberedMessage.Sequence
    }

    /// The highest number that came, by connection and sequence.
    private var last: [[Int]]
    /// Lower numbers that have not come.
    private var gaps: [Place: Set<Int>] = [:]
    private(set) var count = 0

    /// What was wrong, in one direction.
    struct Faults {
        /// Messages that came again.
        var duplicates = 0
        /// Messages that came after later ones.
        var misordered = 0
    }

    /// What came from backends.
    private(set) var published = Faults()
    /// What came as answers to a client's own messages.
    private(set) var answered = Faults()

    init(connections: Int) {
        last = Array(repeating: Array(repeating: 0, count: NumberedMessage.Sequence.allCases.count), count: connections)
    }

    /// Notes that a message has come.
    mutating func add(_ number: Int, _ sequence: NumberedMessage.Sequence, to connection: Int) {
        count += 1
        let highest = last[connection][sequence.rawValue]
        if number > highest {
            last[connection][sequence.rawValue] = number
            if number == highest + 1 { return }
            let place = Place(connection: connection, sequence: sequence)
            gaps[place, default: []].formUnion(highest + 1..<number)
        } else {
            let place = Place(connection: connection, sequence: sequence)
            let isLate = gaps[place]?.remove(number) != nil
            var faults = sequence == .echo ? answered : published
            if isLate { faults.misordered += 1 } else { faults.duplicates += 1 }
            if sequence == .echo { answered = faults } else { published = faults }
        }
    }

    /// Returns the highest number that came.
    func highest(_ sequence: NumberedMessage.Sequence, of connection: Int) -> Int {
        last[connection][sequence.rawValue]
    }

    /// Returns how many of the first `sent` messages of a sequence have not come.
    func missing(_ sequence: NumberedMessage.Sequence, of connection: Int, sent: Int) -> Int {
        let between = gaps[Place(connection: connection, sequence: sequence)]?.count ?? 0
        return max(0, sent - highest(sequence, of: connection)) + between
    }
}
