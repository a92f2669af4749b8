// SPDX-License-Identifier: Apache-2.0

/// An HTTP answer, complete with its body.
package struct HTTPResponse: Equatable, Sendable {
    package struct Field: Equatable, Sendable {
        package let name: String
        package let value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The media types of our answers, as whole lines.
    package enum ContentType: Sendable {
        case json, problem, lines, text, html, javascript, metrics

        fileprivate var line: StaticString {
            switch self {
            case .json: "Content-Type: application/json\r\n"
            case .problem: "Content-Type: application/problem+json\r\n"
            case .lines: "Content-Type: application/x-ndjson\r\n"
            case .text: "Content-Type: text/plain; charset=utf-8\r\n"
            case .html: "Content-Type: text/html; charset=utf-8\r\n"
            case .javascript: "Content-Type: text/javascript; charset=utf-8\r\n"
            case .metrics: "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            }
        }
    }

    /// The status of an answer to a client that has the body already.
    package static let notModified = 304
    /// The status of an answer that has nothing to say.
    package static let noContent = 204

    package var status: Int
    package var contentType: ContentType?
    /// Further header fields.
    package var fields: [Field]
    package var body: [UInt8]
    /// Whether the connection ends after the answer.
    package var closes = false

    package init(_ status: Int, _ contentType: ContentType? = nil, fields: [Field] = [], body: [UInt8] = []) {
        self.status = status
        self.contentType = contentType
        self.fields = fields
        self.body = body
    }

    package static func json(_ body: [UInt8], status: Int = 200) -> HTTPResponse {
        HTTPResponse(status, .json, body: body)
    }

    package static func text(_ text: String, status: Int = 200) -> HTTPResponse {
        HTTPResponse(status, .text, body: Array(text.utf8))
    }

    /// The same answer, which pages of other origins may read, too (CORS; Fetch, section 3.2.3).
    package var readableByPages: HTTPResponse {
        var response = self
        response.fields += HTTPProblem.fieldsForPages
        return response
    }

    /// Appends the response to `output`.
    ///
    /// - Parameters:
    ///   - output: Where the response is written.
    ///   - isHead: Whether it answers a HEAD request, and so has no body.
    ///   - connection: What it says about the connection.
    ///   - date: When it is written; nil: it does not say.
    package func write(
        to output: inout [UInt8],
        isHead: Bool = false,
        connection: Connection,
        date: HTTPDate? = nil
    ) {
        writeStart(to: &output, date)
        // An answer without content must not say how long it is (RFC 9110, 8.6).
        if status != Self.noContent {
            output.append("Content-Length: ")
            output.append(decimal: body.count)
            output.append("\r\n")
        }
        output.append(connection.field)
        output.append("\r\n")
        // The length is that of the body that the client has already (RFC 9110, 15.4.5).
        if !isHead, status != Self.notModified { output.append(contentsOf: body) }
    }

    /// Writes the head of a response whose body follows in pieces: in chunks if the peer speaks HTTP/1.1.
    package func writeStreamHead(
        to output: inout [UInt8],
        isChunked: Bool,
        connection: Connection,
        date: HTTPDate? = nil
    ) {
        writeStart(to: &output, date)
        if isChunked { output.append("Transfer-Encoding: chunked\r\n") }
        output.append(connection.field)
        output.append("\r\n")
    }

    private func writeStart(to output: inout [UInt8], _ date: HTTPDate?) {
        if status == 200 {
            output.append("HTTP/1.1 200 OK\r\n")
        } else {
            output.append(contentsOf: "HTTP/1.1 \(status) \(Self.phrase(status))\r\n".utf8)
        }
        if let date { output.append(contentsOf: date.field) }
        if let contentType { output.append(contentType.line) }
        for field in fields { output.append(contentsOf: "\(field.name): \(field.value)\r\n".utf8) }
    }

    /// What happens to the connection after an answer (RFC 9112, 9.3).
    package enum Connection: Equatable, Sendable {
        /// The connection ends.
        case closes
        /// The connection stays, which is the default in HTTP/1.1.
        case stays
        /// The connection stays because a client of HTTP/1.0 asked for it, which the answer has to confirm.
        case staysAsAsked

        fileprivate var field: StaticString {
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
        case 304: "Not Modified"
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
        case 501: "Not Implemented"
        case 503: "Service Unavailable"
        case 505: "HTTP Version Not Supported"
        default: "Status"
        }
    }
}
