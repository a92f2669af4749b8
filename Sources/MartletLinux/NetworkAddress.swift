// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// A network address as the 16 bytes of an IPv6 address, into which IPv4 is mapped (RFC 4291, 2.5.5.2).
package struct NetworkAddress: Hashable, Sendable {
    /// The first eight bytes, which identify an IPv6 network.
    package let high: UInt64
    package let low: UInt64

    init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Asks for the address of a socket's peer; nil for a Unix socket.
    package init?(peerOf socket: Int32) {
        unsafe self.init { unsafe martlet_peer_address(socket, $0) }
    }

    /// Asks for the address of our own end of a socket; nil for a Unix socket.
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

    /// The address as text, such as `192.0.2.1` or `2001:db8::1` (RFC 5952).
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
