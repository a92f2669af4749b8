// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A network of addresses, or one address: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1`.
package struct NetworkRange: Hashable, Sendable {
    private let first: NetworkAddress
    /// How many of the 128 bits are the prefix.
    private let bits: Int

    /// Reads a range; nil if the text is not one, or has bits after its prefix: `10.0.0.1/8` is not a network.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = NetworkAddress(String(parts[0])) else { return nil }
        first = address
        guard parts.count == 2 else {
            bits = 128
            return
        }
        guard parts[1].utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }), let count = Int(parts[1]),
            (0...(address.isIPv4 ? 32 : 128)).contains(count)
        else { return nil }
        bits = address.isIPv4 ? count + 96 : count
        guard contains(address), Self.masked(address, bits) == address else { return nil }
    }

    package func contains(_ address: NetworkAddress) -> Bool {
        Self.masked(address, bits) == first
    }

    private static func masked(_ address: NetworkAddress, _ bits: Int) -> NetworkAddress {
        let high = bits >= 64 ? address.high : address.high & ~(UInt64.max >> UInt64(bits))
        let low = bits <= 64 ? 0 : address.low & ~(bits == 128 ? 0 : UInt64.max >> UInt64(bits - 64))
        return NetworkAddress(high: high, low: low)
    }
}
