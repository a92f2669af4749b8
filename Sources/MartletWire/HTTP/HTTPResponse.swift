/// An answer of ours, complete with its body.
package struct HTTPResponse: Equatable, Sendable {
    package var status: Int
    package var fields: [(name: String, value: String)]
    package var body: [UInt8]
    /// The connection ends after it.
    package var closes = false

    package init(_ status: Int, fields: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.status = status
        self.fields = fields
        self.body = body
    }

    package static func json(_ body: [UInt8], status: Int = 200) -> HTTPResponse {
        HTTPResponse(status, fields: [("Content-Type", "application/json")], body: body)
    }

    package static func text(_ text: String, status: Int = 200) -> HTTPResponse {
        HTTPResponse(status, fields: [("Content-Type", "text/plain; charset=utf-8")], body: Array(text.utf8))
    }

    package static func == (left: HTTPResponse, right: HTTPResponse) -> Bool {
        left.status == right.status && left.body == right.body && left.closes == right.closes
            && left.fields.map { "\($0.name):\($0.value)" } == right.fields.map { "\($0.name):\($0.value)" }
    }

    /// Writes the response behind what `output` holds.
    ///
    /// * `isHead`: it answers a HEAD request: everything but the body.
    /// * `connection`: what it says of the connection.
    /// * `date`: when it is written (``HTTPDate``); nil: it does not say.
    package func write(
        to output: inout [UInt8],
        isHead: Bool = false,
        connection: Connection,
        date: HTTPDate? = nil
    ) {
        writeStart(to: &output, date)
        output.append(contentsOf: "Content-Length: \(body.count)\r\n".utf8)
        output.append(contentsOf: connection.field.utf8)
        output.append(contentsOf: "\r\n".utf8)
        if !isHead { output.append(contentsOf: body) }
    }

    /// Writes the head of a response whose body follows in pieces, in chunks where the peer speaks HTTP/1.1.
    package func writeStreamHead(
        to output: inout [UInt8],
        isChunked: Bool,
        connection: Connection,
        date: HTTPDate? = nil
    ) {
        writeStart(to: &output, date)
        if isChunked { output.append(contentsOf: "Transfer-Encoding: chunked\r\n".utf8) }
        output.append(contentsOf: connection.field.utf8)
        output.append(contentsOf: "\r\n".utf8)
    }

    private func writeStart(to output: inout [UInt8], _ date: HTTPDate?) {
        output.append(contentsOf: "HTTP/1.1 \(status) \(Self.phrase(status))\r\n".utf8)
        if let date { output.append(contentsOf: date.field) }
        for (name, value) in fields { output.append(contentsOf: "\(name): \(value)\r\n".utf8) }
    }

    /// What becomes of the connection after an answer (RFC 9112, 9.3).
    package enum Connection: Equatable, Sendable {
        /// It ends.
        case closes
        /// It stays, as it does in HTTP/1.1 where nothing is said.
        case stays
        /// It stays, which a client of HTTP/1.0 has asked for and has to be told.
        case staysAsAsked

        fileprivate var field: String {
            switch self {
            case .closes: "Connection: close\r\n"
            case .stays: ""
            case .staysAsAsked: "Connection: keep-alive\r\n"
            }
        }
    }

    package static func phrase(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 204: "No Content"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 409: "Conflict"
        case 408: "Request Timeout"
        case 411: "Length Required"
        case 413: "Content Too Large"
        case 415: "Unsupported Media Type"
        case 422: "Unprocessable Content"
        case 426: "Upgrade Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 503: "Service Unavailable"
        case 505: "HTTP Version Not Supported"
        default: "Status"
        }
    }
}

/// A refusal: a status, a stable code for programs, and a sentence for people (RFC 9457).
package struct HTTPProblem: Error, Equatable, Sendable {
    package let status: Int
    package let code: String
    package let detail: String
    /// Further members of the body: numbers only.
    package var members: [Member] = []
    package var fields: [HTTPRequest.Field] = []
    /// The connection cannot be used any more: what follows on it cannot be told apart.
    package var closes = false

    package struct Member: Equatable, Sendable {
        package let name: String
        package let value: Int
    }

    package init(_ status: Int, _ code: String, _ detail: String) {
        self.status = status
        self.code = code
        self.detail = detail
    }

    package static func badRequest(_ detail: String) -> HTTPProblem { HTTPProblem(400, "malformed", detail) }

    package static let headTooLarge = HTTPProblem(431, "head_too_large", "the request's head is larger than 16 KiB")

    package static func tooManyFields(limit: Int) -> HTTPProblem {
        HTTPProblem(431, "too_many_fields", "the request has more than \(limit) header fields")
    }

    package static let notFound = HTTPProblem(404, "not_found", "nothing is served under this path")

    package static func methodNotAllowed(_ allowed: String) -> HTTPProblem {
        HTTPProblem(405, "method_not_allowed", "use \(allowed)").with("Allow", allowed)
    }

    package static func bodyTooLarge(limit: Int) -> HTTPProblem {
        var problem = HTTPProblem(413, "body_too_large", "the body may have \(limit) bytes")
        problem.members = [.init(name: "limit", value: limit)]
        problem.closes = true
        return problem
    }

    /// The same problem with a header field.
    package func with(_ name: String, _ value: String) -> HTTPProblem {
        var problem = self
        problem.fields.append(.init(name: name, value: value))
        return problem
    }

    /// The body of the response: one JSON object.
    package var json: [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "about:blank")
        json.member("title", HTTPResponse.phrase(status))
        json.member("status", status)
        json.member("code", code)
        json.member("detail", detail)
        for member in members { json.member(member.name, member.value) }
        json.endObject()
        return json.bytes
    }

    package var response: HTTPResponse {
        var response = HTTPResponse(status, fields: [("Content-Type", "application/problem+json")], body: json)
        for field in fields { response.fields.append((field.name, field.value)) }
        response.closes = closes
        return response
    }
}
