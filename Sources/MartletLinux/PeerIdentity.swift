internal import CMartletLinux
internal import Glibc

/// A network address as 16 bytes of IPv6; IPv4 is mapped into it (RFC 4291, 2.5.5.2).
package struct NetworkAddress: Hashable, Sendable {
    /// The first eight bytes, which name a network of IPv6, and the last eight.
    package let high: UInt64
    package let low: UInt64

    fileprivate init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Where the peer of a socket is; nil for a Unix socket.
    package init?(peerOf socket: Int32) {
        unsafe self.init { unsafe martlet_peer_address(socket, $0) }
    }

    /// Where our own end of a socket is; nil for a Unix socket.
    package init?(localOf socket: Int32) {
        unsafe self.init { unsafe martlet_local_address(socket, $0) }
    }

    /// Reads `192.0.2.1` or `2001:db8::1`.
    package init?(_ text: String) {
        unsafe self.init { bytes in unsafe text.withCString { unsafe martlet_parse_address($0, bytes) } }
    }

    private init?(_ fill: (UnsafeMutablePointer<UInt8>) -> Int32) {
        var bytes = [UInt8](repeating: 0, count: 16)
        let isKnown = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return false }
            return unsafe fill(start) == 1
        }
        guard isKnown else { return nil }
        high = bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// As in `192.0.2.1` or `2001:db8::1` (RFC 5952).
    package var text: String {
        if isIPv4 { return (0..<4).map { "\(low >> (24 - 8 * $0) & 0xFF)" }.joined(separator: ".") }
        let bytes = [high, low].flatMap { half in
            (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * UInt64($0))) }
        }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        unsafe inet_ntop(AF_INET6, bytes, &text, socklen_t(INET6_ADDRSTRLEN))
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    package var isLoopback: Bool { isIPv4 ? low >> 24 & 0xFF == 127 : high == 0 && low == 1 }

    package var isIPv4: Bool { high == 0 && low >> 32 == 0xFFFF }
}

/// A network of addresses, or one address: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1`.
package struct NetworkRange: Hashable, Sendable {
    private let first: NetworkAddress
    /// How many bits of 128 count.
    private let bits: Int

    /// Nil where the text is none, or has bits behind its prefix: `10.0.0.1/8` is no network.
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

/// Who is at the other end of a Unix socket (SO_PEERCRED, unix(7)).
package enum PeerCredentials {
    /// False in a user namespace that knows some users only (user_namespaces(7)): all others look alike there.
    package static let areUsersToldApart: Bool = {
        guard let map = try? File.read("/proc/self/uid_map", limit: 4096) else { return true }
        let numbers = String(decoding: map, as: UTF8.self).split { $0 == " " || $0 == "\n" }
        return numbers == ["0", "0", "4294967295"]
    }()

    /// What every user is who is not known in a user namespace (proc_sys_kernel(5), overflowuid).
    private static let overflow: UInt32 = 65534

    /// The user who connected; nil where the kernel does not say.
    package static func uid(of socket: Int32) -> UInt32? {
        var uid: UInt32 = 0
        // Sockets of other families have nobody there, which reads as -1.
        guard unsafe martlet_peer_uid(socket, &uid) == 0, uid != UInt32.max else { return nil }
        return uid == overflow && !areUsersToldApart ? nil : uid
    }
}

/// The terminal that standard output is.
package enum Terminal {
    /// Columns and rows; nil where it is no terminal.
    package static var size: (columns: Int, rows: Int)? {
        var columns: Int32 = 0
        var rows: Int32 = 0
        guard unsafe martlet_terminal_size(1, &columns, &rows) == 0, columns > 0 else { return nil }
        return (Int(columns), Int(rows))
    }
}
