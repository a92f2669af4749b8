// SPDX-License-Identifier: Apache-2.0

/// A rate for each of many addresses, in a table that does not grow: each row keeps the addresses that were seen last.
package struct AddressRates: Sendable {
    private struct Entry {
        /// A number that stands for the address; 0: the entry is vacant.
        var address: UInt64 = 0
        var state: UInt64 = 0
    }

    private static let rows = 1024
    private static let perRow = 4

    private let rate: RateLimit
    /// The table, which is made when it is first needed.
    private var entries: [Entry] = []

    package init(_ rate: RateLimit) { self.rate = rate }

    /// Tells whether one more event of an address is within its rate, without counting it.
    ///
    /// - Parameters:
    ///   - address: A well-mixed number that stands for the address; not 0.
    ///   - now: Nanoseconds of a monotonic clock.
    /// - Returns: True if the event is within the rate.
    package func admits(_ address: UInt64, now: UInt64) -> Bool {
        guard let found = row(of: address).first(where: { entries[$0].address == address }) else { return true }
        return rate.wait(entries[found].state, now: now) == 0
    }

    /// Counts one more event of an address.
    package mutating func count(_ address: UInt64, now: UInt64) {
        if entries.isEmpty { entries = Array(repeating: Entry(), count: Self.rows * Self.perRow) }
        let row = row(of: address)
        let known = row.first { entries[$0].address == address }
        guard let place = known ?? row.min(by: { entries[$0].state < entries[$1].state }) else { return }
        let state = known == nil ? 0 : entries[place].state
        entries[place] = Entry(address: address, state: rate.admitting(state, now: now) ?? state)
    }

    private func row(of address: UInt64) -> Range<Int> {
        if entries.isEmpty { return 0..<0 }
        let start = Int(address % UInt64(Self.rows)) * Self.perRow
        return start..<start + Self.perRow
    }
}
