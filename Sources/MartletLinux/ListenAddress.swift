internal import Glibc

/// Where something listens: `ADDRESS:PORT` with a numeric address, or `unix:PATH`.
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
        // `::1:8000` could mean either, and `127.1` is no address though it looks like one.
        guard address.contains(":") == isBracketed, NetworkAddress(address) != nil else { return nil }
        self = .tcp(address: address, port: port)
    }

    /// True where both cannot be listened on by the same process.
    package func overlaps(_ other: ListenAddress) -> Bool {
        switch (self, other) {
        case (.unix(let one), .unix(let two)): return one == two
        case (.tcp(let one, let port), .tcp(let two, let otherPort)):
            // A port that the kernel chooses is nobody's.
            guard port == otherPort, port != 0 else { return false }
            let (one, two) = (NetworkAddress(one), NetworkAddress(two))
            if one == two { return true }
            let wildcards = ["0.0.0.0", "::"].map { NetworkAddress($0) }
            // On `::` IPv4 is served, too.
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
