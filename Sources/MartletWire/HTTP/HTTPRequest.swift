// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// The head of an HTTP/1.1 request (RFC 9112), as far as Martlet reads it: a view of the bytes that were received.
///
/// Nothing is copied until somebody asks for text. The bytes are shared with the input that they came in, which must
/// not be changed while the request lives, or is copied by that; ``detached()`` ends this.
package final class HTTPRequest: Sendable {
    /// The received bytes, and where the head begins in them.
    private let source: [UInt8]
    private let start: Int
    private let head: HTTPHead
    package let method: HTTPMethod
    package let isVersion11: Bool
    /// The length of the body, if the request says it; a body in chunks has none.
    package let contentLength: Int?
    /// Whether the body comes in chunks (RFC 9112, 7.1).
    package let isChunked: Bool
    let pathPlace: HTTPHead.Place
    private let queryPlace: HTTPHead.Place?

    /// Reads the head that begins at `start`; nil if the bytes end before the head.
    ///
    /// - Throws: The answer to a request that is malformed, or too large.
    package init?(in source: [UInt8], from start: Int = 0) throws(HTTPProblem) {
        let bytes = source.span.extracting(start..<min(source.count, start + HTTPHead.mostBytes))
        var head = HTTPHead()
        guard let line = try RequestLine(bytes), try head.readFields(bytes, from: line.end) else {
            if bytes.count == HTTPHead.mostBytes { throw .headTooLarge }
            return nil
        }
        try Self.checkHost(bytes, head, isVersion11: line.isVersion11)
        isChunked = try Self.isChunked(bytes, head, isVersion11: line.isVersion11)
        contentLength = try head.contentLength(bytes)
        if isChunked, contentLength != nil {
            throw .badRequest("a body has either a Content-Length or a Transfer-Encoding")
        }
        let target = try Target(bytes, at: line.target)
        // The target decides, and not the field (RFC 9112, 3.2.2).
        if let authority = target.authority { head.set(.host, to: authority) }
        method = line.method
        isVersion11 = line.isVersion11
        pathPlace = HTTPHead.Place(target.path)
        queryPlace = target.query.map { HTTPHead.Place($0) }
        self.source = source
        self.start = start
        self.head = head
    }

    private init(_ other: HTTPRequest, source: [UInt8]) {
        self.source = source
        start = 0
        head = other.head
        method = other.method
        isVersion11 = other.isVersion11
        contentLength = other.contentLength
        isChunked = other.isChunked
        pathPlace = other.pathPlace
        queryPlace = other.queryPlace
    }

    /// Returns the same request with its own copy of the head, so that the input may be changed.
    package func detached() -> HTTPRequest { HTTPRequest(self, source: Array(source[start..<end])) }

    /// Where the head ends in the bytes that it was read from.
    package var end: Int { start + head.count }

    /// Calls `body` with the bytes of the head.
    func withBytes<Result, Failure: Error>(
        _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let source = source
        return try body(source.span.extracting(start..<end))
    }

    // MARK: Fields

    /// The value of a field; if the field was sent several times, the values joined by commas (RFC 9110, 5.3).
    package subscript(field: HTTPField) -> String? {
        guard let first = head[field] else { return nil }
        return withBytes { bytes in
            guard head.isRepeated(field) else { return bytes.text(at: first) }
            var values: [String] = []
            head.forEach(field, in: bytes) { values.append(bytes.text(at: $0)) }
            return values.joined(separator: ", ")
        }
    }

    package func has(_ field: HTTPField) -> Bool { head[field] != nil }

    /// Calls `body` with each value of a field, in order.
    func forEachValue(of field: HTTPField, _ body: (Span<UInt8>) -> Void) {
        withBytes { bytes in head.forEach(field, in: bytes) { body(bytes.extracting($0)) } }
    }

    /// Calls `body` with the bytes of a field's value, if it was sent once; returns nil otherwise.
    package func withValue<Result>(of field: HTTPField, _ body: (Span<UInt8>) -> Result) -> Result? {
        guard let place = head[field], !head.isRepeated(field) else { return nil }
        return withBytes { bytes in body(bytes.extracting(place)) }
    }

    /// Returns true if a field was sent once, with this value in upper or lower case.
    package func has(anyCaseOf value: StaticString, in field: HTTPField) -> Bool {
        withValue(of: field) { $0.has(anyCaseOf: value, at: 0..<$0.count) } ?? false
    }

    /// Returns true if a comma-separated field has this member, in upper or lower case.
    package func has(_ token: StaticString, in field: HTTPField) -> Bool {
        var isFound = false
        forEachMember(of: field) { bytes, member in isFound = isFound || bytes.has(anyCaseOf: token, at: member) }
        return isFound
    }

    /// Returns true if a comma-separated field has exactly this member.
    package func has(member text: String, in field: HTTPField) -> Bool {
        var isFound = false
        forEachMember(of: field) { bytes, member in isFound = isFound || bytes.has(text: text, at: member) }
        return isFound
    }

    /// Returns true if a comma-separated field has members, and all of them are this one, in upper or lower case.
    package func hasOnly(_ token: StaticString, in field: HTTPField) -> Bool {
        var (members, others) = (0, 0)
        forEachMember(of: field) { bytes, member in
            members += 1
            if !bytes.has(anyCaseOf: token, at: member) { others += 1 }
        }
        return members > 0 && others == 0
    }

    /// Returns the members of a comma-separated field.
    package func tokens(of field: HTTPField) -> [String] {
        var members: [String] = []
        forEachMember(of: field) { bytes, member in members.append(bytes.text(at: member)) }
        return members
    }

    private func forEachMember(of field: HTTPField, _ body: (Span<UInt8>, Range<Int>) -> Void) {
        guard head[field] != nil else { return }
        withBytes { bytes in
            head.forEach(field, in: bytes) { value in
                var first = value.lowerBound
                while first < value.upperBound {
                    var end = first
                    while end < value.upperBound, bytes[end] != UInt8(ascii: ",") { end += 1 }
                    let member = bytes.trimmed(first..<end)
                    if !member.isEmpty { body(bytes, member) }
                    first = end + 1
                }
            }
        }
    }

    /// True if the connection stays open after the answer.
    package var keepsAlive: Bool {
        isVersion11 ? !has("close", in: .connection) : has("keep-alive", in: .connection)
    }

    package var expectsContinue: Bool { has(anyCaseOf: "100-continue", in: .expect) }

    // MARK: Target

    /// The path as it was sent, still percent-encoded.
    package var path: String { withBytes { $0.text(at: pathPlace.range) } }

    /// Returns true if the path is exactly this one.
    package func hasPath(_ path: StaticString) -> Bool { withBytes { $0.has(path, at: pathPlace.range) } }

    package func hasPath(text path: String) -> Bool { withBytes { $0.has(text: path, at: pathPlace.range) } }

    package func hasPath(beginningWith start: StaticString) -> Bool {
        withBytes { $0.begins(with: start, at: pathPlace.range) }
    }

    /// The part after `?`, still encoded; nil if there is none.
    package var query: String? { queryPlace.map { place in withBytes { $0.text(at: place.range) } } }

    /// The query's parameters, in order, decoded; nil if they are badly encoded.
    package var parameters: [HTTPParameter]? {
        guard let place = queryPlace else { return [] }
        return withBytes { HTTPParameter.all(in: $0.extracting(place.range)) }
    }
}
