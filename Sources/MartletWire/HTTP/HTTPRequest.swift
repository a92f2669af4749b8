// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// The head of an HTTP/1.1 request (RFC 9112), as far as Martlet reads it.
package struct HTTPRequest: Equatable, Sendable {
    package struct Field: Equatable, Sendable {
        /// The name, in lower case.
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
    /// The part after `?`, still encoded; nil if there is none.
    package let query: String?
    /// The query's parameters, in order; nil if they are badly encoded.
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

    /// The value of a field; if the field was sent several times, the values joined by commas (RFC 9110, 5.3).
    package subscript(name: String) -> String? {
        var found: String?
        for field in fields where field.name == name { found = found.map { "\($0), \(field.value)" } ?? field.value }
        return found
    }

    /// Returns true if a comma-separated field has this token, in upper or lower case.
    package func has(_ token: String, in name: String) -> Bool {
        tokens(of: name).contains { $0.lowercased() == token }
    }

    /// Returns the members of a comma-separated field.
    package func tokens(of name: String) -> [String] {
        guard let value = self[name] else { return [] }
        return value.split(separator: ",").map { HTTPSyntax.trimmed($0) }.filter { !$0.isEmpty }
    }

    /// True if the connection stays open after the answer.
    package var keepsAlive: Bool {
        isVersion11 ? !has("close", in: "connection") : has("keep-alive", in: "connection")
    }

    /// The protocol to which the client wants to change, in lower case; nil if it names none, or several.
    package var upgrade: String? {
        let names = Set(tokens(of: "upgrade").map { $0.lowercased() })
        return names.count == 1 ? names.first : nil
    }

    package var expectsContinue: Bool { self["expect"]?.lowercased() == "100-continue" }

    /// The path's segments, decoded; nil if one of them is not UTF-8, or is badly encoded.
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

    /// Returns the value of the parameter with that name; nil if there is none, or more than one.
    package func parameter(_ name: String) -> String? {
        guard let values = parameters?.filter({ $0.name.isExactly(name) }), values.count == 1 else { return nil }
        return values.first?.value
    }

    /// Throws if one of these parameters is given more than once, because it is not clear which one is meant.
    package func checkSingle(_ names: [String]) throws(HTTPProblem) {
        guard let parameters else { throw .badRequest("the query is not percent-encoded UTF-8") }
        for name in names where parameters.count(where: { $0.name.isExactly(name) }) > 1 {
            throw HTTPProblem(400, "repeated_parameter", "give \(name) only once")
        }
    }
}
