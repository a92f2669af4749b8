// SPDX-License-Identifier: Apache-2.0

/// Which web pages may connect: a browser sends the origin of its page (RFC 6454), other clients send none.
package struct OriginPolicy: Equatable, Sendable {
    /// The patterns of allowed origins; empty: only pages of the host that they connect to.
    ///
    /// A pattern is `https://example.com`, `https://*.example.com` (any name under it), the origin of an app
    /// (`capacitor://localhost`, `chrome-extension://ID`, `null`), or `*` (any origin).
    package let allowed: [String]
    private let patterns: [Origin]

    package init(allowed: [String]) {
        self.allowed = allowed
        patterns = allowed.map { Origin($0) }
    }

    /// Tells whether a client may connect.
    ///
    /// - Parameters:
    ///   - origin: The request's `Origin` field; nil: the client is not a browser.
    ///   - host: The host that the request was sent to.
    /// - Returns: True if it may connect.
    package func allows(_ origin: String?, host: String?) -> Bool {
        guard let origin else { return true }
        let page = Origin(origin)
        if allowed.isEmpty {
            guard let host, ["http", "https"].contains(page.scheme) else { return false }
            // We do not know whether a proxy in front of us ends TLS: the page's own scheme says which port is meant.
            return page == Origin("\(page.scheme)://\(host)")
        }
        return zip(allowed, patterns).contains { $0 == "*" || Self.matches($1, page) }
    }

    private static func matches(_ pattern: Origin, _ page: Origin) -> Bool {
        guard pattern.host.hasPrefix("*.") else { return pattern == page }
        let end = pattern.host.dropFirst()
        guard pattern.scheme == page.scheme, pattern.port == page.port, page.host.hasSuffix(end) else { return false }
        let label = page.host.dropLast(end.count)
        return !label.isEmpty && label.utf8.allSatisfy { Self.isHostByte($0) }
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
            UInt8(ascii: "."):
            true
        default: false
        }
    }

    /// Returns why a pattern is not valid; nil if it is.
    package static func problem(_ pattern: String) -> String? {
        if pattern == "*" || pattern == "null" { return nil }
        guard let separator = pattern.firstRange(of: "://"), isScheme(pattern[..<separator.lowerBound]) else {
            return "'\(pattern)' must begin with https:// or http:// (or an app's scheme), or be null, or *"
        }
        let rest = pattern[separator.upperBound...]
        let isWeb = ["http", "https"].contains(pattern[..<separator.lowerBound].lowercased())
        if rest.contains(where: { "/?#@ ".contains($0) }) || (isWeb && rest.isEmpty) {
            return "'\(pattern)' must be a scheme and a host, without a path"
        }
        let stars = rest.count { $0 == "*" }
        if stars > 1 || (stars == 1 && !rest.hasPrefix("*.")) {
            return "'\(pattern)': a * stands for whole names in front, as in https://*.example.com"
        }
        return nil
    }

    /// Returns true for the scheme of a URL (RFC 3986, 3.1).
    private static func isScheme(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, isLetter(first) else { return false }
        return text.utf8.allSatisfy { isLetter($0) || (0x30...0x39).contains($0) || "+-.".utf8.contains($0) }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
}

/// An origin in its parts, in lower case, with the port that its scheme implies.
private struct Origin: Equatable, Sendable {
    /// The scheme; empty if there is none, as in `null`.
    let scheme: String
    let host: String
    /// The port; empty if none is given and the scheme implies none.
    let port: String

    init(_ text: String) {
        var text = text.lowercased()[...]
        // Older React Native ends its origins with a slash.
        if text.hasSuffix("/"), !text.hasSuffix("://") { text.removeLast() }
        guard let separator = text.firstRange(of: "://") else {
            (scheme, host, port) = ("", String(text), "")
            return
        }
        scheme = String(text[..<separator.lowerBound])
        let authority = text[separator.upperBound...]
        let digits = authority.reversed().prefix { $0.isASCII && $0.isNumber }.count
        let name = authority.dropLast(digits)
        if name.hasSuffix(":"), digits > 0 {
            host = String(name.dropLast())
            port = String(authority.suffix(digits))
        } else {
            host = String(authority)
            port = ["http": "80", "https": "443"][scheme] ?? ""
        }
    }
}
