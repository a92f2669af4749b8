// SPDX-License-Identifier: Apache-2.0

/// Reads the heads of HTTP/1.1 messages (RFC 9112): a strict subset, without anything that Martlet does not need.
///
/// Lines end with CRLF; there is no obsolete folding, no space before a colon, no Transfer-Encoding, and only one
/// Content-Length. Anything that a proxy in front of us might read differently is refused, so that no request can be
/// smuggled past it.
package enum HTTPHeadParser {
    /// The most fields a head may have.
    package static let mostFields = 100

    /// Reads the head of a request; `bytes` are the whole head, up to the end of its blank line.
    package static func request(_ bytes: ArraySlice<UInt8>) throws(HTTPProblem) -> HTTPRequest {
        var lines = try lines(of: bytes)[...]
        guard let first = lines.popFirst() else { throw .badRequest("the request is empty") }
        let (method, target, isVersion11) = try requestLine(first)
        var fields = try self.fields(lines)
        try check(fields, isVersion11: isVersion11)
        let (authority, path, query) = try split(target)
        if let authority {
            // The target decides, and not the field (RFC 9112, 3.2.2).
            fields = fields.filter { $0.name != "host" } + [.init(name: "host", value: authority)]
        }
        return HTTPRequest(
            method: method,
            path: path,
            query: query,
            isVersion11: isVersion11,
            fields: fields,
            contentLength: try contentLength(fields)
        )
    }

    /// Reads the head of a response, for our own clients.
    package static func response(
        _ bytes: ArraySlice<UInt8>
    ) throws(HTTPProblem) -> (status: Int, fields: [HTTPRequest.Field], contentLength: Int?) {
        var lines = try lines(of: bytes)[...]
        guard let first = lines.popFirst() else { throw .badRequest("the answer is empty") }
        let parts = first.split(separator: UInt8(ascii: " "), maxSplits: 2)
        guard parts.count >= 2, parts[0].elementsEqual("HTTP/1.1".utf8),
            let status = Int(String(decoding: parts[1], as: UTF8.self))
        else { throw .badRequest("not an HTTP/1.1 answer") }
        let fields = try self.fields(lines)
        return (status, fields, try contentLength(fields))
    }

    /// Finds the end of a head in `bytes[start...]`: the index after its blank line; nil if it is not complete.
    package static func endOfHead(_ bytes: [UInt8], from start: Int, searchedTo: Int) -> Int? {
        var index = max(start, searchedTo - 3)
        let last = bytes.count - 4
        while index <= last {
            if bytes[index + 3] == 0x0A {
                if bytes[index] == 0x0D, bytes[index + 1] == 0x0A, bytes[index + 2] == 0x0D { return index + 4 }
                index += 2
            } else if bytes[index + 3] == 0x0D {
                index += 1
            } else {
                index += 4
            }
        }
        return nil
    }

    private static func lines(of bytes: ArraySlice<UInt8>) throws(HTTPProblem) -> [ArraySlice<UInt8>] {
        var lines: [ArraySlice<UInt8>] = []
        var start = bytes.startIndex
        var index = start
        while index < bytes.endIndex {
            switch bytes[index] {
            case 0x0D:
                guard index + 1 < bytes.endIndex, bytes[index + 1] == 0x0A else {
                    throw .badRequest("a carriage return without a line feed")
                }
                if index > start { lines.append(bytes[start..<index]) }
                index += 2
                start = index
            case 0x0A, 0x00: throw .badRequest("a bare line feed or a zero byte in the head")
            default: index += 1
            }
        }
        return lines
    }

    private static func requestLine(_ line: ArraySlice<UInt8>) throws(HTTPProblem) -> (String, String, Bool) {
        let parts = line.split(separator: 0x20, omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[0].isEmpty, parts[0].allSatisfy(HTTPSyntax.isToken) else {
            throw .badRequest("the request line is malformed")
        }
        guard parts[1].allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") }) else {
            throw .badRequest("the target must be a path, percent-encoded, without a fragment")
        }
        let version = String(decoding: parts[2], as: UTF8.self)
        guard version == "HTTP/1.1" || version == "HTTP/1.0" else {
            throw HTTPProblem(505, "http_version", "this server speaks HTTP/1.1")
        }
        let text = { (part: ArraySlice<UInt8>) in String(decoding: part, as: UTF8.self) }
        return (text(parts[0]), text(parts[1]), version == "HTTP/1.1")
    }

    private static func fields(_ lines: ArraySlice<ArraySlice<UInt8>>) throws(HTTPProblem) -> [HTTPRequest.Field] {
        guard lines.count <= mostFields else { throw .tooManyFields(limit: mostFields) }
        var fields: [HTTPRequest.Field] = []
        fields.reserveCapacity(lines.count)
        for line in lines {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
                line[..<colon].allSatisfy(HTTPSyntax.isToken)
            else { throw .badRequest("a header field is malformed") }
            var value = line[(colon + 1)...]
            while let first = value.first, first == 0x20 || first == 0x09 { value.removeFirst() }
            while let last = value.last, last == 0x20 || last == 0x09 { value.removeLast() }
            guard value.allSatisfy({ ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 }) else {
                throw .badRequest("a header field has a control character")
            }
            let name = line[..<colon].map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
            fields.append(
                .init(name: String(decoding: name, as: UTF8.self), value: String(decoding: value, as: UTF8.self))
            )
        }
        return fields
    }

    private static func check(_ fields: [HTTPRequest.Field], isVersion11: Bool) throws(HTTPProblem) {
        let hosts = fields.filter { $0.name == "host" }
        if hosts.count > 1 || (isVersion11 && hosts.isEmpty) { throw .badRequest("exactly one Host field is required") }
        if let host = hosts.first, !HTTPSyntax.isAuthority(host.value) {
            throw .badRequest("Host must be a name or an address, with an optional port")
        }
        if fields.contains(where: { $0.name == "transfer-encoding" }) {
            throw HTTPProblem(411, "length_required", "send the body with a Content-Length, not in chunks")
        }
    }

    private static func contentLength(_ fields: [HTTPRequest.Field]) throws(HTTPProblem) -> Int? {
        let values = fields.filter { $0.name == "content-length" }
        guard let first = values.first else { return nil }
        guard values.count == 1, !first.value.isEmpty, first.value.utf8.count <= 15,
            first.value.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(first.value)
        else { throw .badRequest("Content-Length must be one decimal number") }
        return length
    }

    /// Splits a target into its authority, if it is in absolute form (RFC 9112, 3.2.2), its path, and its query.
    private static func split(
        _ target: String
    ) throws(HTTPProblem) -> (authority: String?, path: String, query: String?) {
        if target.utf8.first == UInt8(ascii: "/") {
            let (path, query) = splitQuery(target[...])
            return (nil, path, query)
        }
        let scheme = target.prefix { $0 != ":" }
        guard ["http", "https", "ws", "wss"].contains(scheme.lowercased()),
            target.dropFirst(scheme.count).hasPrefix("://")
        else { throw .badRequest("the target must be a path or a URL") }
        let rest = target.dropFirst(scheme.count + 3)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard !authority.isEmpty, HTTPSyntax.isAuthority(String(authority)) else {
            throw .badRequest("the target's authority must be a name or an address, with an optional port")
        }
        let (path, query) = splitQuery(rest.dropFirst(authority.count))
        return (String(authority), path.isEmpty ? "/" : path, query)
    }

    private static func splitQuery(_ target: Substring) -> (path: String, query: String?) {
        guard let mark = target.utf8.firstIndex(of: UInt8(ascii: "?")) else { return (String(target), nil) }
        return (String(target[..<mark]), String(target[target.utf8.index(after: mark)...]))
    }
}
