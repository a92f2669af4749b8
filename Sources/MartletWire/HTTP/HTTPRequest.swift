internal import MartletCore

/// The head of an HTTP/1.1 request (RFC 9112), as far as Martlet reads it.
package struct HTTPRequest: Equatable, Sendable {
    package struct Field: Equatable, Sendable {
        /// In lower case.
        package let name: String
        package let value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// A parameter of the query, decoded.
    package struct Parameter: Equatable, Sendable {
        package let name: String
        package let value: String
    }

    package let method: String
    /// The path as it was sent, still percent-encoded.
    package let path: String
    /// What follows `?`, still encoded; nil where there is none.
    package let query: String?
    /// The query's parameters in order; nil where it is badly encoded.
    package let parameters: [Parameter]?
    package let isVersion11: Bool
    package let fields: [Field]
    package let contentLength: Int?

    init(
        method: String,
        path: String,
        query: String?,
        isVersion11: Bool,
        fields: [Field],
        contentLength: Int?
    ) {
        self.method = method
        self.path = path
        self.query = query
        parameters = Self.parameters(query)
        self.isVersion11 = isVersion11
        self.fields = fields
        self.contentLength = contentLength
    }

    /// The value of a field; where it was sent several times, the values joined by commas (RFC 9110, 5.3).
    package subscript(name: String) -> String? {
        var found: String?
        for field in fields where field.name == name { found = found.map { "\($0), \(field.value)" } ?? field.value }
        return found
    }

    /// True where a comma-separated field has this token, in whatever case.
    package func has(_ token: String, in name: String) -> Bool {
        tokens(of: name).contains { $0.lowercased() == token }
    }

    /// The members of a comma-separated field.
    package func tokens(of name: String) -> [String] {
        guard let value = self[name] else { return [] }
        return value.split(separator: ",").map { HTTPSyntax.trimmed($0) }.filter { !$0.isEmpty }
    }

    /// True where the connection stays open after the answer.
    package var keepsAlive: Bool {
        isVersion11 ? !has("close", in: "connection") : has("keep-alive", in: "connection")
    }

    /// The protocol to which the client wants to change, in lower case; nil where it names none, or several.
    package var upgrade: String? {
        let names = Set(tokens(of: "upgrade").map { $0.lowercased() })
        return names.count == 1 ? names.first : nil
    }

    package var expectsContinue: Bool { self["expect"]?.lowercased() == "100-continue" }

    /// The path's segments, decoded; nil where one is not UTF-8 or badly encoded.
    ///
    /// A slash that is part of a segment is sent as `%2F`.
    package var segments: [String]? {
        var segments: [String] = []
        for part in path.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
            guard let segment = HTTPSyntax.percentDecoded(part, plusIsSpace: false) else { return nil }
            segments.append(segment)
        }
        return segments
    }

    private static func parameters(_ query: String?) -> [Parameter]? {
        guard let query else { return [] }
        var result: [Parameter] = []
        for part in query.split(separator: "&") {
            let pieces = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = HTTPSyntax.percentDecoded(pieces[0], plusIsSpace: true),
                let value = HTTPSyntax.percentDecoded(pieces.count > 1 ? pieces[1] : "", plusIsSpace: true)
            else { return nil }
            result.append(Parameter(name: name, value: value))
        }
        return result
    }

    /// The parameter of that name; nil where there is none, or more than one.
    package func parameter(_ name: String) -> String? {
        guard let values = parameters?.filter({ $0.name.isExactly(name) }), values.count == 1 else { return nil }
        return values.first?.value
    }

    /// Throws where one of these parameters is given more than once: then nobody can know which one is meant.
    package func checkSingle(_ names: [String]) throws(HTTPProblem) {
        guard let parameters else { throw .badRequest("the query is not percent-encoded UTF-8") }
        for name in names where parameters.count(where: { $0.name.isExactly(name) }) > 1 {
            throw HTTPProblem(400, "repeated_parameter", "give \(name) once")
        }
    }
}

/// Small rules of HTTP's syntax.
package enum HTTPSyntax {
    /// RFC 9110, 5.6.2: what a method and a field name may be made of.
    package static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    /// True for what a Host field may hold (RFC 9110, 7.2): a name or an address, with or without a port; or nothing.
    package static func isAuthority(_ text: String) -> Bool {
        let bytes = text.utf8[...]
        var host = bytes
        if bytes.first == UInt8(ascii: "[") {
            guard let end = bytes.firstIndex(of: UInt8(ascii: "]")) else { return false }
            host = bytes[bytes.index(after: bytes.startIndex)..<end]
            guard !host.isEmpty, host.allSatisfy({ isHostByte($0) || $0 == UInt8(ascii: ":") }) else { return false }
            return isPort(bytes[bytes.index(after: end)...])
        }
        if let colon = bytes.firstIndex(of: UInt8(ascii: ":")) {
            host = bytes[..<colon]
            guard isPort(bytes[colon...]) else { return false }
        }
        return host.allSatisfy(isHostByte)
    }

    /// True for nothing, or a colon and at most five digits.
    private static func isPort(_ bytes: Substring.UTF8View) -> Bool {
        guard let first = bytes.first else { return true }
        let digits = bytes.dropFirst()
        return first == UInt8(ascii: ":") && digits.count <= 5 && digits.allSatisfy { (0x30...0x39).contains($0) }
    }

    /// RFC 3986, 3.2.2: unreserved characters, sub-delimiters, and what is percent-encoded.
    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "-._~%!$&'()*+,;=".utf8.contains(byte)
        }
    }

    /// Without spaces and tabs at both ends.
    package static func trimmed(_ text: Substring) -> String {
        var slice = text.utf8[...]
        while let first = slice.first, first == 0x20 || first == 0x09 { slice.removeFirst() }
        while let last = slice.last, last == 0x20 || last == 0x09 { slice.removeLast() }
        return String(Substring(slice))
    }

    /// RFC 3986, 2.1; nil where a `%` has no two digits after it, or the result is not UTF-8.
    package static func percentDecoded(_ text: Substring, plusIsSpace: Bool) -> String? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        var iterator = text.utf8.makeIterator()
        while let byte = iterator.next() {
            if byte == UInt8(ascii: "%") {
                guard let first = iterator.next().flatMap(Hexadecimal.value(of:)),
                    let second = iterator.next().flatMap(Hexadecimal.value(of:))
                else { return nil }
                bytes.append(first << 4 | second)
            } else {
                bytes.append(plusIsSpace && byte == UInt8(ascii: "+") ? 0x20 : byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// Everything but unreserved characters percent-encoded, for one path segment or query value.
    package static func percentEncoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "~"):
                result.append(Character(Unicode.Scalar(byte)))
            default:
                result += byte < 16 ? "%0" : "%"
                result += String(byte, radix: 16, uppercase: true)
            }
        }
        return result
    }
}
