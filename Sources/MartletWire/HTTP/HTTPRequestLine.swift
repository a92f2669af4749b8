// SPDX-License-Identifier: Apache-2.0

// The first line of a request, and the rules that span lines.

extension HTTPRequest {
    /// The first line of a request (RFC 9112, section 3).
    struct RequestLine {
        let method: HTTPMethod
        let target: Range<Int>
        let isVersion11: Bool
        /// Where the next line begins.
        let end: Int

        /// Reads the line at the beginning of a head; nil if the bytes end before the line.
        init?(_ bytes: Span<UInt8>) throws(HTTPProblem) {
            var space = 0
            while space < bytes.count, ByteSet.token.contains(bytes[space]) { space += 1 }
            guard space < bytes.count else { return nil }
            guard space > 0, bytes[space] == 0x20 else { throw .badRequest("the request line is malformed") }
            var second = space + 1
            while second < bytes.count, ByteSet.target.contains(bytes[second]) { second += 1 }
            guard second < bytes.count else { return nil }
            guard second > space + 1, bytes[second] == 0x20 else {
                throw .badRequest("the target must be a path, percent-encoded, without a fragment")
            }
            guard let last = try HTTPHead.endOfLine(bytes, from: second + 1) else { return nil }
            let version = second + 1..<last
            isVersion11 = bytes.has("HTTP/1.1", at: version)
            guard isVersion11 || bytes.has("HTTP/1.0", at: version) else {
                if version.isEmpty || version.contains(where: { bytes[$0] == 0x20 }) {
                    throw .badRequest("the request line is malformed")
                }
                throw HTTPProblem(505, "http_version", "this server speaks HTTP/1.1")
            }
            method = HTTPMethod(bytes, at: 0..<space)
            target = space + 1..<second
            end = last + 2
        }
    }

    /// The parts of a target: a path, or a whole URL (RFC 9112, 3.2).
    struct Target {
        /// The URL's authority; nil if the target is a path.
        private(set) var authority: Range<Int>?
        /// Where the path lies; of a URL without one, `/` somewhere in the head.
        private(set) var path: Range<Int>
        private(set) var query: Range<Int>?

        init(_ bytes: Span<UInt8>, at range: Range<Int>) throws(HTTPProblem) {
            path = range
            if bytes[range.lowerBound] != UInt8(ascii: "/") { try cutAuthority(bytes, range) }
            guard let mark = path.first(where: { bytes[$0] == UInt8(ascii: "?") }) else { return }
            query = mark + 1..<path.upperBound
            path = path.lowerBound..<mark
            if path.isEmpty, let authority { path = authority.lowerBound - 1..<authority.lowerBound }
        }

        private mutating func cutAuthority(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(HTTPProblem) {
            let colon = range.first { bytes[$0] == UInt8(ascii: ":") } ?? range.upperBound
            let scheme = range.lowerBound..<colon
            let schemes: [StaticString] = ["http", "https", "ws", "wss"]
            guard schemes.contains(where: { bytes.has(anyCaseOf: $0, at: scheme) }),
                bytes.begins(with: "://", at: colon..<range.upperBound)
            else { throw .badRequest("the target must be a path or a URL") }
            let first = colon + 3
            let end =
                (first..<range.upperBound).first { bytes[$0] == UInt8(ascii: "/") || bytes[$0] == UInt8(ascii: "?") }
                ?? range.upperBound
            guard first < end, HTTPSyntax.isAuthority(bytes, at: first..<end) else {
                throw .badRequest("the target's authority must be a name or an address, with an optional port")
            }
            authority = first..<end
            // The slash before the authority stands for the path of a URL that has none.
            path = end < range.upperBound ? end..<range.upperBound : first - 1..<first
        }
    }

    static func checkHost(_ bytes: Span<UInt8>, _ head: HTTPHead, isVersion11: Bool) throws(HTTPProblem) {
        guard let host = head[.host] else {
            if isVersion11 { throw .badRequest("exactly one Host field is required") }
            return
        }
        if head.isRepeated(.host) { throw .badRequest("exactly one Host field is required") }
        if !HTTPSyntax.isAuthority(bytes, at: host) {
            throw .badRequest("Host must be a name or an address, with an optional port")
        }
    }

    /// Returns true if the body comes in chunks, which is the only coding that we know (RFC 9112, section 6.1).
    static func isChunked(_ bytes: Span<UInt8>, _ head: HTTPHead, isVersion11: Bool) throws(HTTPProblem) -> Bool {
        guard let coding = head[.transferEncoding] else { return false }
        // In HTTP/1.0 nobody knows how a proxy between us has read it.
        guard isVersion11 else { throw .badRequest("HTTP/1.0 has no Transfer-Encoding") }
        guard !head.isRepeated(.transferEncoding), bytes.has(anyCaseOf: "chunked", at: coding) else {
            throw HTTPProblem(501, "unknown_transfer_coding", "the only Transfer-Encoding known here is chunked")
        }
        return true
    }
}

extension HTTPHead {
    /// Reads the length of the body (RFC 9112, 6.2); nil if the head does not say it.
    func contentLength(_ bytes: Span<UInt8>) throws(HTTPProblem) -> Int? {
        guard let value = self[.contentLength] else { return nil }
        var length = 0
        var isNumber = !isRepeated(.contentLength) && (1...15).contains(value.count)
        for index in value where isNumber {
            let digit = bytes[index] &- 0x30
            isNumber = digit < 10
            length = length * 10 + Int(digit)
        }
        guard isNumber else { throw .badRequest("Content-Length must be one decimal number") }
        return length
    }
}
