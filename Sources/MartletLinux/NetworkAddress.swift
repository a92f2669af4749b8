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

    /// Asks for the address of our own end of a socket; nil for a Unix socket.
    package init?(localOf socket: Int32) {
        unsafe self.init { unsafe martlet_local_address(socket, $0) }
    }

    /// Reads `192.0.2.1` or `2001:db8::1`.
    package init?(_ text: String) {
        unsafe self.init { bytes in unsafe text.withCString { unsafe martlet_parse_address($0, bytes) } }
    }

    private init?(_ fill: (UnsafeMutablePointer<UInt8>) -> Int32) {
        var bytes = InlineArray<16, UInt8>(repeating: 0)
        var span = bytes.mutableSpan
        let isKnown = unsafe span.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return false }
            return unsafe fill(start) == 1
        }
        guard isKnown else { return nil }
        self.init(bytes)
    }

    init(_ bytes: InlineArray<16, UInt8>) {
        var (high, low): (UInt64, UInt64) = (0, 0)
        for index in 0..<8 {
            high = high << 8 | UInt64(bytes[index])
            low = low << 8 | UInt64(bytes[8 + index])
        }
        self.init(high: high, low: low)
    }

    /// The address as text, such as `192.0.2.1` or `2001:db8::1` (RFC 5952).
    package var text: String {
        if isIPv4 {
            let part = { (shift: UInt64) in low >> shift & 0xFF }
            return "\(part(24)).\(part(16)).\(part(8)).\(part(0))"
        }
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
