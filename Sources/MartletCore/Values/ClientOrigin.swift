// SPDX-License-Identifier: Apache-2.0

/// Where a client says that it comes from: this is shown to people who look at a connection, and decides nothing.
package struct ClientOrigin: Equatable, Sendable {
    /// The client's IP address, as the trusted proxies report it; empty: not known.
    package let address: String
    /// What the client calls itself (RFC 9110, 10.1.5), truncated; empty: it says nothing.
    package let agent: String

    private static let longestAddress = 45
    private static let longestAgent = 128

    /// Makes an origin in which quotes, backslashes and everything that is not printable ASCII become `?`.
    package init(address: String, agent: String) {
        self.address = Self.plain(address, Self.longestAddress, from: 0x21)
        self.agent = Self.plain(agent, Self.longestAgent, from: 0x20)
    }

    private static func plain(_ text: String, _ longest: Int, from least: UInt8) -> String {
        let bytes = text.utf8.span
        let count = min(bytes.count, longest)
        func isPlain(_ byte: UInt8) -> Bool { byte >= least && byte < 0x7F && byte != 0x22 && byte != 0x5C }
        var plain = 0
        while plain < count, isPlain(bytes[plain]) { plain += 1 }
        if plain == bytes.count { return text }
        return unsafe String(unsafeUninitializedCapacity: count) { target in
            for index in 0..<count {
                unsafe target.initializeElement(at: index, to: isPlain(bytes[index]) ? bytes[index] : UInt8(ascii: "?"))
            }
            return count
        }
    }
}
