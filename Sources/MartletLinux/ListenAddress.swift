// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// An address to listen on: `ADDRESS:PORT` with a numeric address, or `unix:PATH`.
package enum ListenAddress: Hashable, Sendable, CustomStringConvertible {
    case tcp(address: String, port: UInt16)
    case unix(path: String)

    /// Reads `127.0.0.1:8000`, `[::1]:8000` or `unix:/run/martlet/api.sock`; nil for anything else.
    package init?(_ text: String) {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            guard path.hasPrefix("/") else { return nil }
            self = .unix(path: path)
            return
        }
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var address = String(text[..<colon])
        let isBracketed = address.hasPrefix("[") && address.hasSuffix("]")
        if isBracketed { address = String(address.dropFirst().dropLast()) }
        // `::1:8000` could be read in two ways, and `127.1` is not an address, although it looks like one.
        guard address.contains(":") == isBracketed, NetworkAddress(address) != nil else { return nil }
        self = .tcp(address: address, port: port)
    }

    /// Returns true if one process cannot listen on both addresses.
    package func overlaps(_ other: ListenAddress) -> Bool {
        switch (self, other) {
        case (.unix(let one), .unix(let two)): return one == two
        case (.tcp(let one, let port), .tcp(let two, let otherPort)):
            // A port that the kernel chooses overlaps with nothing.
            guard port == otherPort, port != 0 else { return false }
            let (one, two) = (NetworkAddress(one), NetworkAddress(two))
            if one == two { return true }
            let wildcards = ["0.0.0.0", "::"].map { NetworkAddress($0) }
            // `::` serves IPv4 too.
            if wildcards[1] == one || wildcards[1] == two { return true }
            return one?.isIPv4 == two?.isIPv4 && (one == wildcards[0] || two == wildcards[0])
        default: return false
        }
    }

    package var description: String {
        switch self {
        case .tcp(let address, let port): address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}
