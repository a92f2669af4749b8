// SPDX-License-Identifier: Apache-2.0

/// An HTTP answer, complete with its body.
package struct HTTPResponse: Equatable, Sendable {
    package var status: Int
    package var fields: [(name: String, value: String)]
    package var body: [UInt8]
    /// Whether the connection ends after the answer.
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
        output.append(contentsOf: "Content-Length: \(body.count)\r\n".utf8)
        output.append(contentsOf: connection.field.utf8)
        output.append(contentsOf: "\r\n".utf8)
        if !isHead { output.append(contentsOf: body) }
    }

    /// Writes the head of a response whose body follows in pieces: in chunks if the peer speaks HTTP/1.1.
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

    /// What happens to the connection after an answer (RFC 9112, 9.3).
    package enum Connection: Equatable, Sendable {
        /// The connection ends.
        case closes
        /// The connection stays, which is the default in HTTP/1.1.
        case stays
        /// The connection stays because a client of HTTP/1.0 asked for it, which the answer has to confirm.
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
