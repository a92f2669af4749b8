// SPDX-License-Identifier: Apache-2.0

import MartletWire

/// Another reading of the heads of requests, with arrays and strings, which ``HTTPRequest`` must agree with.
///
/// It is as strict, and as plain as it can be: this is what the rules mean.
struct PlainHead {
    struct Field {
        let name: String
        let value: String
    }

    let method: String
    let path: String
    let query: String?
    let isVersion11: Bool
    let fields: [Field]
    let contentLength: Int?

    /// Reads a whole head, with its blank line.
    init(_ bytes: ArraySlice<UInt8>) throws(HTTPProblem) {
        var lines = try Self.lines(of: bytes)[...]
        guard let first = lines.popFirst() else { throw .badRequest("the request is empty") }
        let (method, target, isVersion11) = try Self.requestLine(first)
        var fields = try Self.fields(lines)
        try Self.check(fields, isVersion11: isVersion11)
        let (authority, path, query) = try Self.split(target)
        if let authority {
            fields = fields.filter { $0.name != "host" } + [.init(name: "host", value: authority)]
        }
        (self.method, self.path, self.query) = (method, path, query)
        self.isVersion11 = isVersion11
        self.fields = fields
        contentLength = try Self.contentLength(fields)
    }

    /// The values of a field, joined by commas; nil if it was not sent.
    func value(of name: String) -> String? {
        let values = fields.filter { $0.name == name }.map(\.value)
        return values.isEmpty ? nil : values.joined(separator: ", ")
    }

    /// The members of a comma-separated field.
    func members(of name: String) -> [String] {
        (value(of: name) ?? "").split(separator: ",").map { HTTPSyntax.trimmed($0) }.filter { !$0.isEmpty }
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

    private static func fields(_ lines: ArraySlice<ArraySlice<UInt8>>) throws(HTTPProblem) -> [Field] {
        guard lines.count <= 100 else { throw .tooManyFields(limit: 100) }
        var fields: [Field] = []
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

    private static func check(_ fields: [Field], isVersion11: Bool) throws(HTTPProblem) {
        let hosts = fields.filter { $0.name == "host" }
        if hosts.count > 1 || (isVersion11 && hosts.isEmpty) { throw .badRequest("exactly one Host field is required") }
        if let host = hosts.first, !isAuthority(host.value) {
            throw .badRequest("Host must be a name or an address, with an optional port")
        }
        let codings = fields.filter { $0.name == "transfer-encoding" }
        let isSized = fields.contains { $0.name == "content-length" }
        guard
            codings.isEmpty
                || (codings.count == 1 && codings[0].value.lowercased() == "chunked" && isVersion11 && !isSized)
        else { throw .badRequest("another transfer coding") }
    }

    private static func contentLength(_ fields: [Field]) throws(HTTPProblem) -> Int? {
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
        guard !authority.isEmpty, isAuthority(String(authority)) else {
            throw .badRequest("the target's authority must be a name or an address, with an optional port")
        }
        let (path, query) = splitQuery(rest.dropFirst(authority.count))
        return (String(authority), path.isEmpty ? "/" : path, query)
    }

    private static func splitQuery(_ target: Substring) -> (path: String, query: String?) {
        guard let mark = target.utf8.firstIndex(of: UInt8(ascii: "?")) else { return (String(target), nil) }
        return (String(target[..<mark]), String(target[target.utf8.index(after: mark)...]))
    }

    private static let hostBytes = Set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;=".utf8
    )

    /// Returns true for a name or an address, with or without a port; or nothing.
    private static func isAuthority(_ text: String) -> Bool {
        let bytes = text.utf8[...]
        var host = bytes
        if bytes.first == UInt8(ascii: "[") {
            guard let end = bytes.firstIndex(of: UInt8(ascii: "]")) else { return false }
            host = bytes[bytes.index(after: bytes.startIndex)..<end]
            guard !host.isEmpty, host.allSatisfy({ hostBytes.contains($0) || $0 == UInt8(ascii: ":") }) else {
                return false
            }
            return isPort(bytes[bytes.index(after: end)...])
        }
        if let colon = bytes.firstIndex(of: UInt8(ascii: ":")) {
            host = bytes[..<colon]
            guard isPort(bytes[colon...]) else { return false }
        }
        return host.allSatisfy(hostBytes.contains)
    }

    /// Returns true for nothing, or a colon and at most five digits.
    private static func isPort(_ bytes: Substring.UTF8View) -> Bool {
        guard let first = bytes.first else { return true }
        let digits = bytes.dropFirst()
        return first == UInt8(ascii: ":") && digits.count <= 5 && digits.allSatisfy { (0x30...0x39).contains($0) }
    }
}
