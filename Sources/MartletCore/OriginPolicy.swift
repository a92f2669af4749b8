/// Which web pages may connect: a browser names its page's origin (RFC 6454), other clients name none.
package struct OriginPolicy: Equatable, Sendable {
    /// `https://example.com`, `https://*.example.com` (any name under it), `*` (any).
    ///
    /// Empty: only pages of the host that they connect to.
    package let allowed: [String]

    package init(allowed: [String]) {
        self.allowed = allowed
    }

    /// * `origin`: the field of the request; nil: it is no browser.
    /// * `host`: the host that the request was sent to.
    package func allows(_ origin: String?, host: String?) -> Bool {
        guard let origin else { return true }
        let name = origin.lowercased()
        if allowed.isEmpty {
            guard let host, let separator = name.firstRange(of: "://") else { return false }
            return name[separator.upperBound...] == host.lowercased()
        }
        return allowed.contains { Self.matches($0.lowercased(), name) }
    }

    private static func matches(_ pattern: String, _ origin: String) -> Bool {
        if pattern == "*" { return true }
        guard let star = pattern.firstRange(of: "*.") else { return pattern == origin }
        let (start, end) = (pattern[..<star.lowerBound], pattern[star.lowerBound...].dropFirst())
        guard origin.count > start.count + end.count, origin.hasPrefix(start), origin.hasSuffix(end) else {
            return false
        }
        let label = origin.dropFirst(start.count).dropLast(end.count)
        return label.utf8.allSatisfy { Self.isHostByte($0) }
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
            UInt8(ascii: "."):
            true
        default: false
        }
    }

    /// Why a pattern cannot be one; nil where it can.
    package static func problem(_ pattern: String) -> String? {
        if pattern == "*" { return nil }
        guard pattern.hasPrefix("https://") || pattern.hasPrefix("http://") else {
            return "'\(pattern)' must begin with https:// or http://, or be *"
        }
        if pattern.hasSuffix("/") || pattern.dropFirst(8).contains("/") {
            return "'\(pattern)' must have no path"
        }
        let stars = pattern.filter { $0 == "*" }.count
        if stars > 1 || (stars == 1 && !pattern.contains("://*.")) {
            return "'\(pattern)': a * stands for whole names in front, as in https://*.example.com"
        }
        return nil
    }
}
